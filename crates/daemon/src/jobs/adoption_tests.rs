#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::future::pending;

use tokio::sync::mpsc::unbounded_channel;

use super::*;

fn stop(grace_ms: u64) -> Order {
    Order::Stop { grace_ms }
}

#[tokio::test]
async fn a_stop_is_waited_for_no_longer_than_its_grace() {
    let (orders, mut inbox) = unbounded_channel();
    let mut held = Held::default();
    orders.send(Order::Launch).unwrap();
    orders.send(stop(600)).unwrap();
    // A second stop does not prolong the first.
    orders.send(stop(60_000)).unwrap();
    let began = Instant::now();
    assert_eq!(held.meanwhile(&mut inbox, pending::<()>()).await, None);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(590) && took < Duration::from_secs(3), "{took:?}");
    // Nothing is lost, and the grace is over.
    let released = held.release();
    assert!(matches!(
        released[..],
        [Order::Launch, Order::Stop { grace_ms: 0 }, Order::Stop { grace_ms: 0 }]
    ));
    // The allowed twin: without a stop it is waited for as long as it takes,
    // and a supervisor that answers in time gets what is left.
    orders.send(Order::Launch).unwrap();
    assert_eq!(held.meanwhile(&mut inbox, tokio::task::yield_now()).await, Some(()));
    orders.send(stop(60_000)).unwrap();
    assert_eq!(held.meanwhile(&mut inbox, tokio::task::yield_now()).await, Some(()));
    let released = held.release();
    let [Order::Launch, Order::Stop { grace_ms }] = released[..] else { panic!("{released:?}") };
    assert!((50_000..60_000).contains(&grace_ms), "{grace_ms}");
    assert!(held.release().is_empty());
}
