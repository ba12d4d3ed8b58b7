//! Numbers that are handed out lowest first, at a cost that does not grow
//! with how many are in use.

use std::convert::Infallible;

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
        let nobody = |_| Ok::<_, Infallible>(false);
        self.take_lowest_but(first, last, usable, nobody).unwrap_or_else(|never| match never {})
    }

    /// The same without numbers that are `busy`, which are offered again another
    /// time. Of those only that are free it is asked.
    ///
    /// # Errors
    /// Where it cannot be told whether one is busy.
    pub fn take_lowest_but<E>(
        &mut self,
        first: u128,
        last: u128,
        usable: impl Fn(u128) -> bool,
        mut busy: impl FnMut(u128) -> Result<bool, E>,
    ) -> Result<Option<u128>, E> {
        let mut candidate = self.floor.max(first);
        let mut passed_over = None;
        while candidate <= last {
            if usable(candidate) && !self.contains(candidate) {
                if busy(candidate)? {
                    passed_over.get_or_insert(candidate);
                } else {
                    self.take(candidate);
                    self.floor = passed_over.unwrap_or(candidate.saturating_add(1));
                    return Ok(Some(candidate));
                }
            }
            let Some(next) = candidate.checked_add(1) else { break };
            candidate = next;
        }
        Ok(None)
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
        let busy = |n| if n == 99 { Err("asked in vain") } else { Ok(n == 1 || n == 3) };
        let all = |_| true;
        assert_eq!(pool.take_lowest_but(1, 9, all, busy), Ok(Some(2)));
        assert_eq!(pool.take_lowest_but(1, 9, all, busy), Ok(Some(4)));
        assert_eq!(pool.take_lowest_but(99, 99, all, busy), Err("asked in vain"));
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
