//! Every tool refuses at every step: the old state is back, and the message names
//! the tool and what it said.

use kleene_engine::Command;
use kleene_host::freebsd::simulated::Fault;
use kleene_model::NetworkType;

use crate::lives::anything;
use crate::rig::{connect, differ, disconnect, network, with_running};

fn commands() -> Vec<Command> {
    let mut third = network("three", NetworkType::Loopback, 3);
    third.internal = true;
    vec![
        Command::NetworkCreate(third),
        connect("own", "two"),
        connect("shared", "two"),
        disconnect("own", "one"),
        disconnect("shared", "one"),
        Command::NetworkRemove { network: "two".to_owned() },
    ]
}

/// Each command with each of its calls refused in turn; how many that were.
fn each_step(fault: &Fault) -> usize {
    let mut steps = 0;
    for (number, _) in commands().iter().enumerate() {
        for step in 1.. {
            let mut rig = with_running();
            let before = rig.picture();
            let command = commands().swap_remove(number);
            let text = format!("{command:?}, step {step}");
            rig.system.fail_at(step, fault.clone());
            let calls = rig.system.calls();
            let answer = rig.ask(command);
            let used = rig.system.calls() - calls;
            rig.system.fail_no_more();
            let call =
                rig.system.log().get(usize::try_from(calls + step - 1).unwrap_or(0)).cloned();
            let created = call.is_some_and(|call| call.args.iter().any(|arg| arg == "create"));
            if created && *fault == Fault::RefusedAfterwards {
                // Nobody can tell whose such an interface is: it has no mark yet.
                continue;
            }
            let Err(refusal) = answer else {
                // What it never came to, or did without.
                if used < step {
                    break;
                }
                continue;
            };
            steps += 1;
            let why = refusal.to_string();
            assert!(why.contains("simulated failure"), "{text}: {why}");
            // Once it is looked at again nothing is left of it.
            rig.event(anything());
            assert_eq!(differ(&before, &rig.picture()), None, "{text}: {why}");
            rig.ok(commands().swap_remove(number));
        }
    }
    steps
}

#[test]
fn refused_at_every_step_the_old_state_is_back() {
    let steps = each_step(&Fault::Refused);
    assert!(steps > 60, "only {steps} steps");
}

#[test]
fn done_and_refused_at_every_step_the_old_state_is_back() {
    let steps = each_step(&Fault::RefusedAfterwards);
    assert!(steps > 60, "only {steps} steps");
}

#[test]
fn an_answer_that_is_cut_is_an_error_and_never_a_guess() {
    let mut rig = with_running();
    let before = rig.picture();
    let calls = rig.system.calls();
    rig.event(anything());
    let looks = rig.system.calls() - calls;
    assert!(looks > 3);
    for call in 1..=looks {
        for bytes in [0, 1, 40, 400] {
            rig.system.fail_at(call, Fault::Cut(bytes));
            rig.event(anything());
            rig.system.fail_no_more();
            rig.event(anything());
            assert_eq!(differ(&before, &rig.picture()), None, "call {call} cut after {bytes}");
        }
    }
}
