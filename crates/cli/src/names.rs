//! Names for containers that got none: an adjective and a scientist.

/// A name from a random number; with `distinct` one that nobody else has drawn.
pub(crate) fn invent(random: u64, distinct: bool) -> String {
    // The lists' lengths are far below 2^32; each half picks one.
    let pick = |list: &[&'static str], half: u64| list[(half % list.len() as u64) as usize];
    let adjective = pick(ADJECTIVES, random & 0xffff);
    let surname = pick(SURNAMES, (random >> 16) & 0xffff);
    if distinct {
        format!("{adjective}_{surname}_{:04x}", random >> 48)
    } else {
        format!("{adjective}_{surname}")
    }
}

const ADJECTIVES: &[&str] = &[
    "agile",
    "amiable",
    "attentive",
    "blissful",
    "bold",
    "brave",
    "bright",
    "busy",
    "calm",
    "careful",
    "charming",
    "cheerful",
    "clever",
    "cordial",
    "curious",
    "daring",
    "dazzling",
    "eager",
    "elegant",
    "eloquent",
    "epic",
    "fearless",
    "festive",
    "focused",
    "friendly",
    "gallant",
    "gentle",
    "gifted",
    "gracious",
    "happy",
    "hopeful",
    "inspired",
    "jolly",
    "jovial",
    "keen",
    "kind",
    "lively",
    "lucid",
    "merry",
    "modest",
    "nifty",
    "nimble",
    "patient",
    "peaceful",
    "playful",
    "polished",
    "proud",
    "quick",
    "quiet",
    "relaxed",
    "serene",
    "sharp",
    "stoic",
    "sunny",
    "tender",
    "thoughtful",
    "upbeat",
    "vibrant",
    "vigilant",
    "warm",
    "wise",
    "witty",
    "zealous",
    "zen",
];

const SURNAMES: &[&str] = &[
    "archimedes",
    "babbage",
    "bardeen",
    "bassi",
    "bell",
    "blackwell",
    "bohr",
    "bose",
    "brahmagupta",
    "carson",
    "cerf",
    "chandrasekhar",
    "church",
    "clarke",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "galileo",
    "gauss",
    "germain",
    "goodall",
    "hamilton",
    "hawking",
    "hermann",
    "herschel",
    "hodgkin",
    "hopper",
    "hypatia",
    "jackson",
    "kalam",
    "kepler",
    "khayyam",
    "kleene",
    "knuth",
    "kovalevskaya",
    "lamarr",
    "leavitt",
    "liskov",
    "lovelace",
    "maxwell",
    "mayer",
    "mcclintock",
    "meitner",
    "mendel",
    "mirzakhani",
    "newton",
    "nobel",
    "noether",
    "pasteur",
    "perlman",
    "ramanujan",
    "ride",
    "ritchie",
    "sammet",
    "shannon",
    "snyder",
    "tesla",
    "thompson",
    "turing",
    "wiles",
    "wing",
    "wu",
    "yalow",
];

#[cfg(test)]
mod tests {
    use super::*;
    use kleene_model::ContainerName;

    #[test]
    fn every_name_is_a_good_container_name() {
        for adjective in ADJECTIVES {
            for surname in SURNAMES {
                ContainerName::parse(&format!("{adjective}_{surname}")).expect("a good name");
            }
        }
    }

    #[test]
    fn a_number_gives_one_name() {
        assert_eq!(invent(0, false), "agile_archimedes");
        assert_eq!(invent(0xabcd_0000_0001_0002, false), "attentive_babbage");
        assert_eq!(invent(0xabcd_0000_0001_0002, true), "attentive_babbage_abcd");
    }
}
