//! What FreeBSD does that one would not expect.

macro_rules! quirks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A way of FreeBSD 13.2 that surprises. All are on; a test can switch one
        /// off, to show that what it tests copes with it and does not depend on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk { $($(#[$doc])* $name,)* }

        impl Quirk {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

quirks! {
    /// `ifconfig lo create name X` that fails to give the name leaves `loN` behind;
    /// its name is on standard output.
    FailedNameLeavesLink,
    /// Adding an address that is there already succeeds and changes nothing.
    AliasTwice,
    /// An interface that moves between network stacks loses its addresses, groups
    /// and description; `jail -r` gives it back so.
    MoveStrips,
    /// `ifconfig BRIDGE` lists at most 102 members.
    MembersShown,
    /// A jail that owns a TCP connection stays, dying, and keeps the interfaces of
    /// its network stack.
    DyingKeepsLinks,
    /// `pfctl -a X -s rules` of an unknown anchor prints an error and returns 0.
    UnknownAnchorIsNoError,
    /// `set skip on GROUP` marks each member with a flag of its own, also those that
    /// are made later; nothing but `pfctl -F all` takes it from one that left.
    SkipStays,
    /// An anchor that had a table, a rule that names one or one that calls another
    /// anchor stays in the list when it is flushed, until the kernel frees its rules
    /// minutes later (`Simulated::minutes_pass`).
    AnchorWithTableStays,
    /// A jail name of digits only becomes the jid.
    DigitsAreJid,
    /// `exec.stop` that was given at `jail -c` is forgotten by `jail -r` (so are
    /// `exec.prestop`, `exec.poststop` and `stop.timeout`).
    StopForgotten,
    /// `jail -r '*'` without a configuration file does nothing and returns 0.
    RemoveStarDoesNothing,
    /// The default route goes with the last address of its interface, and a new one
    /// does not bring it back.
    RouteGoesWithAddress,
    /// The first bridge member sets the bridge's MTU; later ones must have the same.
    FirstMemberSetsMtu,
    /// `::1` goes to the first loopback interface of the stack that comes up.
    LoopbackAddressToFirstUp,
}
