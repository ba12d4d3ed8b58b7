use kleene_engine::actual::{Link, LinkKind};
use kleene_engine::change::{Mark, Owner};
use kleene_model::{EndpointId, InstanceName};

use super::super::error::KernelError;
use super::*;

fn cables(count: u8) -> Vec<Owned> {
    let instance = InstanceName::parse("test").unwrap();
    let cable = |number: u8| {
        let endpoint = EndpointId::from_bytes([0xe0, 0, 0, 0, 0, number]).unwrap();
        let mark = Mark { instance: instance.clone(), owner: Owner::Endpoint(endpoint) };
        let (name, alias) = (LinkName::cable_host(u32::from(number)), mark.to_string());
        Link::observed(name, LinkKind::Cable, false, Some(&alias)).owned(&instance).unwrap()
    };
    (0..count).map(cable).collect()
}

fn refusal() -> NetError {
    KernelError::new(libc::EBUSY, None).into()
}

fn names(cables: &[Owned]) -> Vec<LinkName> {
    cables.iter().map(|cable| cable.link().clone()).collect()
}

#[test]
fn what_goes_at_once_is_not_waited_for() {
    let cables = cables(3);
    let all = |left: &[&Owned]| {
        let gone = left.iter().map(|cable| cable.link().clone()).collect();
        Ok(Round { gone, ..Round::default() })
    };
    let gone = persist(&cables, all, |_| panic!("a pause")).unwrap();
    assert_eq!(gone, names(&cables));
    // Nor is one that is in use again.
    assert!(persist(&cables, |_| Ok(Round::default()), |_| panic!("a pause")).unwrap().is_empty());
}

#[test]
fn refusals_are_tried_again_with_longer_pauses_and_not_for_ever() {
    let cables = cables(2);
    let mut pauses = Vec::new();
    let mut tries = 0;
    let busy = |left: &[&Owned]| {
        tries += 1;
        assert_eq!(left.len(), 2, "a try that failed changes nothing");
        Err(refusal())
    };
    let error = persist(&cables, busy, |pause| pauses.push(pause)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert_eq!((tries, pauses.len()), (PAUSES.len() + 1, PAUSES.len()));
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(3));
    // The twin: a refusal that passes.
    let mut tries = 0;
    let later = |left: &[&Owned]| {
        tries += 1;
        if tries < 3 {
            return Err(refusal());
        }
        let gone = left.iter().map(|cable| cable.link().clone()).collect();
        Ok(Round { gone, ..Round::default() })
    };
    let mut pauses = 0;
    assert_eq!(persist(&cables, later, |_| pauses += 1).unwrap(), names(&cables));
    assert_eq!(pauses, 2);
}

/// All are gone but one, which the kernel refuses to delete.
fn all_but<'a>(stays: &Owned, left: &[&'a Owned]) -> Round<'a> {
    let (left, gone) = left.iter().partition::<Vec<&Owned>, _>(|cable| **cable == stays);
    let gone = gone.into_iter().map(|cable| cable.link().clone()).collect();
    Round { gone, left, refused: Some(refusal()) }
}

#[test]
fn one_that_stays_keeps_no_other() {
    let cables = cables(3);
    let mut tried = Vec::new();
    let gone = persist(
        &cables,
        |left| {
            tried.push(left.len());
            Ok(all_but(&cables[1], left))
        },
        |_| {},
    );
    assert_eq!(gone.unwrap(), [cables[0].link().clone(), cables[2].link().clone()]);
    assert!(tried[0] == 3 && tried[1..].iter().all(|count| *count == 1), "{tried:?}");
}
