//! Frames: `[u32 little-endian length][u8 kind][payload]`, where the length
//! counts the payload only.

/// The largest payload a frame may carry. A peer that announces more is
/// broken or hostile, and is cut off before anything is allocated for it.
pub const MAX_FRAME: usize = 1 << 20;

const HEADER: usize = 5;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A JSON message.
    Control,
    /// Bytes an execution wrote.
    Output,
    /// Bytes for an execution's standard input.
    Input,
    /// A kind this version does not know; to be skipped.
    Unknown(u8),
}

impl FrameKind {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Control,
            1 => Self::Output,
            2 => Self::Input,
            other => Self::Unknown(other),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Output => 1,
            Self::Input => 2,
            Self::Unknown(other) => other,
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: FrameKind,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// A stream that is not one of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer announced a frame above [`MAX_FRAME`].
    #[error("frame of {0} bytes is above the limit of {MAX_FRAME}")]
    TooLarge(usize),
}

/// Encodes one frame.
///
/// # Errors
///
/// [`FrameError::TooLarge`] when the payload is above [`MAX_FRAME`].
pub fn encode_frame(kind: FrameKind, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_FRAME)
        .ok_or(FrameError::TooLarge(payload.len()))?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(kind.to_byte());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Takes a byte stream apart into frames.
///
/// Total: whatever bytes come, in whatever pieces, the answer is frames or one
/// error, which is then repeated for ever.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.buffer.len() {
            // Capacity left behind by one large message is given back: a
            // supervisor idles for days.
            self.buffer = Vec::new();
            self.taken = 0;
        } else if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait to be decoded.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// The next whole frame, `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] for a frame that will never be accepted; the
    /// stream is unusable from there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let pending = &self.buffer[self.taken..];
        let Some((length, rest)) = pending.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge(length));
        }
        let Some((kind, rest)) = rest.split_first() else { return Ok(None) };
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Frame { kind: FrameKind::from_byte(*kind), payload: payload.to_vec() };
        self.taken += HEADER + length;
        Ok(Some(frame))
    }
}
