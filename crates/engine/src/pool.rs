//! Numbers that are handed out lowest first, at a cost that does not grow
//! with how many are in use.

use std::collections::BTreeSet;

use imbl::OrdSet;

/// A set of numbers in use, and a number below which none is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    used: OrdSet<u128>,
    /// Every number below is in use or was never offered: where the search
    /// for the lowest free one begins.
    floor: u128,
}

impl Pool {
    /// Marks a number as used. `false` when it was already.
    pub fn take(&mut self, number: u128) -> bool {
        self.used.insert(number).is_none()
    }

    /// Gives a number back.
    pub fn release(&mut self, number: u128) {
        if self.used.remove(&number).is_some() {
            self.floor = self.floor.min(number);
        }
    }

    /// Whether a number is used.
    #[must_use]
    pub fn contains(&self, number: u128) -> bool {
        self.used.contains(&number)
    }

    /// Takes the lowest number from `first` to `last` that is neither used nor
    /// refused by `usable`.
    ///
    /// Amortised constant: the search begins where the last one ended, and a
    /// released number moves it back. `first` and `usable` must not change
    /// over a pool's life, or lower numbers may be missed.
    pub fn take_lowest(
        &mut self,
        first: u128,
        last: u128,
        usable: impl Fn(u128) -> bool,
    ) -> Option<u128> {
        self.take_lowest_but(first, last, usable, &BTreeSet::new())
    }

    /// The same without the numbers in `busy`, which are offered again another
    /// time.
    pub fn take_lowest_but(
        &mut self,
        first: u128,
        last: u128,
        usable: impl Fn(u128) -> bool,
        busy: &BTreeSet<u128>,
    ) -> Option<u128> {
        let mut candidate = self.floor.max(first);
        let mut passed_over = None;
        while candidate <= last {
            if usable(candidate) && !self.contains(candidate) {
                if busy.contains(&candidate) {
                    passed_over.get_or_insert(candidate);
                } else {
                    self.take(candidate);
                    self.floor = passed_over.unwrap_or(candidate.saturating_add(1));
                    return Some(candidate);
                }
            }
            candidate = candidate.checked_add(1)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_first_and_released_numbers_come_back() {
        let mut pool = Pool::default();
        let odd = |n: u128| n % 2 == 1;
        assert_eq!(pool.take_lowest(1, 9, odd), Some(1));
        assert!(pool.take(3));
        assert!(!pool.take(3));
        assert_eq!(pool.take_lowest(1, 9, odd), Some(5));
        pool.release(1);
        assert_eq!(pool.take_lowest(1, 9, odd), Some(1));
        assert_eq!(pool.take_lowest(1, 9, odd), Some(7));
        assert_eq!(pool.take_lowest(1, 9, odd), Some(9));
        assert_eq!(pool.take_lowest(1, 9, odd), None);
        pool.release(3);
        assert_eq!(pool.take_lowest(1, 9, odd), Some(3));
    }

    #[test]
    fn busy_numbers_are_offered_again() {
        let mut pool = Pool::default();
        let busy = BTreeSet::from([1, 3]);
        let all = |_| true;
        assert_eq!(pool.take_lowest_but(1, 9, all, &busy), Some(2));
        assert_eq!(pool.take_lowest_but(1, 9, all, &busy), Some(4));
        assert_eq!(pool.take_lowest(1, 9, all), Some(1));
        assert_eq!(pool.take_lowest(1, 9, all), Some(3));
        assert_eq!(pool.take_lowest(1, 9, all), Some(5));
    }

    #[test]
    fn the_end_of_the_number_space_is_an_end() {
        let mut pool = Pool::default();
        assert_eq!(pool.take_lowest(u128::MAX, u128::MAX, |_| true), Some(u128::MAX));
        assert_eq!(pool.take_lowest(u128::MAX, u128::MAX, |_| true), None);
    }
}
