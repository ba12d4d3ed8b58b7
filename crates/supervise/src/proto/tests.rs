use super::*;

/// A small deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn frames_survive_any_cutting() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200 {
        let frames: Vec<Frame> = (0..random.next() % 6)
            .map(|_| Frame {
                kind: FrameKind::Output,
                payload: (0..random.next() % 300).map(|_| random.next() as u8).collect(),
            })
            .collect();
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend(encode_frame(frame.kind, &frame.payload).unwrap());
        }
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((1 + random.next() as usize % 64).min(rest.len()));
            decoder.push(piece);
            rest = tail;
            while let Some(frame) = decoder.next_frame().unwrap() {
                seen.push(frame);
            }
        }
        assert_eq!(seen, frames);
        assert_eq!(decoder.pending(), 0);
    }
}

#[test]
fn noise_is_never_a_panic() {
    let mut random = Random(42);
    for _ in 0..2_000 {
        let mut decoder = Decoder::new();
        let noise: Vec<u8> = (0..random.next() % 64).map(|_| random.next() as u8).collect();
        decoder.push(&noise);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let _ = decode::<ToSupervisor>(&frame.payload);
            let _ = decode::<FromSupervisor>(&frame.payload);
        }
    }
}

#[test]
fn a_too_large_frame_is_refused_by_its_header() {
    let mut decoder = Decoder::new();
    decoder.push(&(MAX_FRAME as u32 + 1).to_le_bytes());
    assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge(MAX_FRAME + 1)));
    assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge(MAX_FRAME + 1)));
    assert!(encode_frame(FrameKind::Input, &vec![0; MAX_FRAME + 1]).is_err());
    assert!(encode_frame(FrameKind::Input, &vec![0; MAX_FRAME]).is_ok());
}

#[test]
fn messages_come_back() {
    let messages = [
        ToSupervisor::Launch {},
        ToSupervisor::Signal { exec: None, signo: 15, all: true },
        ToSupervisor::Exec(ExecSpec {
            id: "a1".into(),
            argv: vec!["sh".into(), "-c".into(), "exit 7".into()],
            env: vec!["A=\u{fc}".into()],
            cwd: String::new(),
            user: "nobody:daemon".into(),
            tty: Some(Terminal { rows: 24, cols: 80 }),
            stdin: true,
        }),
    ];
    for message in messages {
        let mut decoder = Decoder::new();
        decoder.push(&encode(&message).unwrap());
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.kind, FrameKind::Control);
        assert_eq!(decode::<ToSupervisor>(&frame.payload).unwrap(), message);
    }
}

#[test]
fn what_newer_versions_add_is_tolerated() {
    let known: ToSupervisor =
        decode(br#"{"type":"Launch","faster":true}"#).expect("unknown fields are skipped");
    assert_eq!(known, ToSupervisor::Launch {});
    assert!(decode::<ToSupervisor>(br#"{"type":"Teleport"}"#).is_err());
    let event: FromSupervisor = decode(br#"{"type":"Teleported"}"#).unwrap();
    assert_eq!(event, FromSupervisor::Unknown);
}

fn setup(jail: Option<Box<JailSetup>>) -> Setup {
    Setup {
        container: "c1".into(),
        netns: NetworkNamespace::Host,
        rootfs: RootFs::Dir { path: "/root".into() },
        bundle: "/bundle".into(),
        runtime: "/runtime".into(),
        runtime_root: "/state".into(),
        cgroup: None,
        log_dir: "/log".into(),
        log: LogLimits { max_bytes: 1, files: 2 },
        jail,
    }
}

/// What a supervisor of before jails takes a set-up for.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct SetupBeforeJails {
    container: String,
    netns: NetworkNamespace,
    rootfs: RootFs,
    bundle: std::path::PathBuf,
    runtime: std::path::PathBuf,
    runtime_root: std::path::PathBuf,
    #[serde(default)]
    cgroup: Option<std::path::PathBuf>,
    log_dir: std::path::PathBuf,
    #[serde(default)]
    log: LogLimits,
}

#[test]
fn a_setup_goes_from_before_jails_to_after_and_back() {
    let params = vec!["name=c1".to_owned(), "path=/root".to_owned(), "vnet".to_owned()];
    for new in [setup(None), setup(Some(Box::new(JailSetup { params, ..JailSetup::default() })))] {
        let text = serde_json::to_vec(&new).unwrap();
        assert_eq!(serde_json::from_slice::<Setup>(&text).unwrap(), new);
        // An older supervisor understands a newer daemon, ...
        let old: SetupBeforeJails = serde_json::from_slice(&text).unwrap();
        // ... and a newer supervisor an older daemon.
        let text = serde_json::to_vec(&old).unwrap();
        assert_eq!(serde_json::from_slice::<Setup>(&text).unwrap(), Setup { jail: None, ..new });
    }
    let text = serde_json::to_string(&setup(None)).unwrap();
    assert!(!text.contains("jail"), "what is not asked for is not said: {text}");
}

#[test]
fn versions_meet_at_the_newest_common_one() {
    assert_eq!(negotiate((1, 1), (1, 1)), Some(1));
    assert_eq!(negotiate((1, 2), (1, 1)), Some(1));
    assert_eq!(negotiate((1, 2), (2, 3)), Some(2));
    assert_eq!(negotiate((3, 4), (1, 2)), None);
}
