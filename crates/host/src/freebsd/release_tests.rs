use proptest::prelude::*;

use super::*;
use crate::freebsd::simulated::{Fault, Simulated};
use crate::freebsd::testing::Scripted;

fn refusal(version: &str, architecture: &str) -> String {
    Release::parse(version, architecture).expect_err(version).to_string()
}

#[test]
fn releases_and_snapshots_have_their_places() {
    for (version, architecture, url, shown) in [
        ("13.2-RELEASE", "amd64", "releases/amd64/13.2-RELEASE", "FreeBSD-13.2-RELEASE amd64"),
        ("13.2-RELEASE-p11", "arm64", "releases/arm64/13.2-RELEASE", "FreeBSD-13.2-RELEASE arm64"),
        ("14.1-STABLE", "i386", "snapshots/i386/14.1-STABLE", "FreeBSD-14.1-STABLE i386"),
    ] {
        let release = Release::parse(version, architecture).expect(version);
        let expected = format!("https://download.freebsd.org/{url}/base.txz");
        assert_eq!(release.url().to_string(), expected);
        assert_eq!(release.to_string(), shown);
        assert_eq!(format!("{} {architecture}", release.nametag()), shown);
    }
}

#[test]
fn versions_of_other_forms_are_refused() {
    for version in [
        "15.0-CURRENT",
        "14.0-RC1",
        "13.2-RELEASE-p",
        "13.2-RELEASE-p1x",
        "13.2-RELEASE-p1-p2",
        "13.2-RELEASE-",
        "13.2-STABLE-p1",
        "13.2-release",
        "13-RELEASE",
        "13.2.1-RELEASE",
        "../1.2-RELEASE",
        "13.2/../x-RELEASE",
        " 13.2-RELEASE",
        "13.2-RELEASE ",
        "١٣.2-RELEASE",
        "12345.0-RELEASE",
        "",
    ] {
        let text = refusal(version, "amd64");
        let expected = format!("could not deduce url from FreeBSD version {version}:");
        assert!(text.starts_with(&expected), "{text}");
    }
    for architecture in ["", "AMD64", "a/b", "..", "amd64\n", "a23456789012345678"] {
        let text = refusal("13.2-RELEASE", architecture);
        assert!(text.starts_with("could not deduce url from the architecture"), "{text}");
    }
    // What is shown of it is one line, and no longer than a line.
    let text = refusal(&"\n\u{1b}".repeat(500), "amd64");
    assert!(!text.contains(char::is_control) && text.len() < 600, "{text}");
}

#[test]
fn the_kernel_is_asked() {
    let host = Simulated::new();
    assert_eq!(Release::of_host(&host).expect("known").to_string(), "FreeBSD-13.2-RELEASE amd64");
    for n in 1..=2 {
        host.fail_at(n, Fault::Refused);
        let err = Release::of_host(&host).expect_err("refused");
        assert_eq!(err.to_string(), "cannot tell the version of FreeBSD");
        host.fail_no_more();
    }
    let tools = Scripted::new()
        .says("sysctl -n kern.osrelease", "13.2-RELEASE\n\n")
        .says("sysctl -n hw.machine", "amd64\n");
    assert!(Release::of_host(&tools).is_err());
}

proptest! {
    #[test]
    fn what_is_believed_makes_an_address_of_one_form(
        version in "[0-9]{0,5}[.]?[0-9]{0,5}-?(RELEASE|STABLE|CURRENT)?(-p)?[0-9/. \n]{0,3}|.{0,20}",
        architecture in "[a-z0-9]{0,18}|.{0,8}",
    ) {
        if let Ok(release) = Release::parse(&version, &architecture) {
            let url = release.url().to_string();
            prop_assert!(Url::parse(&url).is_ok());
            let path = url.strip_prefix("https://download.freebsd.org/").expect("there");
            prop_assert_eq!(path.split('/').count(), 4, "{}", url);
            prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-".contains(&b)));
            prop_assert!(!path.contains(".."));
            // Read again, it is the same.
            let version = release.nametag().replacen("FreeBSD-", "", 1);
            prop_assert_eq!(Release::parse(&version, &architecture).ok(), Some(release));
        }
    }
}
