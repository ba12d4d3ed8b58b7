//! Bytes on a supervisor's socket, in pieces: frames or one error that
//! stays, the same as in one piece, and messages that decode or do not.
#![no_main]

use kleene_supervise::proto::{Decoder, Frame, FrameError, FromSupervisor, ToSupervisor, decode};
use libfuzzer_sys::fuzz_target;

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let whole = frames(&[bytes]);
    let (left, right) = bytes.split_at(cut % (bytes.len() + 1));
    assert_eq!(whole, frames(&[left, right]));
    for frame in whole.0 {
        let _ = decode::<ToSupervisor>(&frame.payload);
        let _ = decode::<FromSupervisor>(&frame.payload);
    }
});
