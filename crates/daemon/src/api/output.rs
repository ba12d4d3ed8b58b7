//! Output of a container as websocket frames: text where it is UTF-8, binary
//! where it is not.

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes};

/// Cuts a stream of bytes into frames without cutting characters.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a character whose end has not come yet.
    held: Vec<u8>,
}

impl Frames {
    /// The frames for what was read; the beginning of a character stays here.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Message> {
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(bytes);
        match std::str::from_utf8(&whole) {
            Ok(_) => {}
            Err(err) if err.error_len().is_none() => self.held = whole.split_off(err.valid_up_to()),
            Err(_) => return Some(Message::Binary(whole.into())),
        }
        (!whole.is_empty()).then(|| frame(whole))
    }

    /// What is left when nothing follows.
    pub(super) fn end(&mut self) -> Option<Message> {
        let rest = std::mem::take(&mut self.held);
        (!rest.is_empty()).then(|| Message::Binary(rest.into()))
    }
}

fn frame(bytes: Vec<u8>) -> Message {
    let bytes = Bytes::from(bytes);
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &Message) -> &[u8] {
        match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            other => panic!("no output: {other:?}"),
        }
    }

    #[test]
    fn a_split_character_is_held_back() {
        let mut frames = Frames::default();
        let text = "aü€😀".as_bytes();
        let mut seen = Vec::new();
        for byte in text {
            if let Some(message) = frames.push(&[*byte]) {
                assert!(matches!(message, Message::Text(_)));
                seen.extend_from_slice(bytes(&message));
            }
        }
        assert_eq!(frames.end(), None);
        assert_eq!(seen, text);
    }

    #[test]
    fn nothing_is_lost_whatever_the_bytes() {
        let all: Vec<u8> = (0..=255).cycle().take(4096).collect();
        for size in 1..8 {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in all.chunks(size) {
                seen.extend(frames.push(chunk).iter().flat_map(|m| bytes(m).to_vec()));
            }
            seen.extend(frames.end().iter().flat_map(|m| bytes(m).to_vec()));
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn an_unfinished_character_comes_as_binary_at_the_end() {
        let mut frames = Frames::default();
        assert_eq!(frames.push(&[0xe2, 0x82]), None);
        assert_eq!(frames.end(), Some(Message::Binary(Bytes::from_static(&[0xe2, 0x82]))));
    }
}
