//! One measured number, what it is compared with, and its budget.

use std::fmt;

use serde_json::{Value, json};

/// A limit, of the ratio where there is something to compare with, else of the number
/// itself.
#[derive(Clone, Copy)]
pub(super) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    /// What is not a number keeps no budget.
    fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {limit}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
        }
    }
}

/// One line of the table.
pub(super) struct Row {
    pub(super) what: String,
    /// `ms`, `Gbit/s` or `1/s`.
    pub(super) unit: &'static str,
    pub(super) measured: f64,
    /// What it is compared with, and the same number of it.
    pub(super) beside: Option<(String, f64)>,
    /// None where it only explains another.
    pub(super) budget: Option<Budget>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, base)| self.measured / base)
    }

    fn within(&self) -> Option<bool> {
        self.budget.map(|budget| budget.is_kept(self.ratio().unwrap_or(self.measured)))
    }

    pub(super) fn json(&self) -> Value {
        let beside = self.beside.as_ref();
        json!({
            "what": self.what, "unit": self.unit, "measured": self.measured,
            "beside": beside.map(|(name, _)| name), "base": beside.map(|(_, base)| base),
            "ratio": self.ratio(), "budget": self.budget.map(|budget| budget.to_string()), "within": self.within(),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<58} {:>10.2} {:<6}", self.what, self.measured, self.unit)?;
        if let (Some((name, base)), Some(ratio)) = (&self.beside, self.ratio()) {
            write!(f, "   {ratio:.3} × {base:.2}, {name}")?;
        }
        let Some(budget) = self.budget else { return Ok(()) };
        let verdict = if self.within() == Some(true) { "within" } else { "missed" };
        write!(f, "; budget {budget}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(measured: f64, base: Option<f64>, budget: Budget) -> bool {
        let beside = base.map(|base| ("another".to_owned(), base));
        let what = "this".to_owned();
        let row = Row { what, unit: "ms", measured, beside, budget: Some(budget) };
        row.within() == Some(true)
    }

    #[test]
    fn a_ratio_is_judged_where_there_is_one() {
        assert!(within(3.0, Some(2.0), Budget::AtMost(1.5)));
        assert!(!within(3.1, Some(2.0), Budget::AtMost(1.5)));
        assert!(within(97.0, Some(100.0), Budget::AtLeast(0.97)));
        assert!(!within(96.0, Some(100.0), Budget::AtLeast(0.97)));
        assert!(within(10.0, None, Budget::AtMost(10.0)));
        assert!(!within(10.1, None, Budget::AtMost(10.0)));
    }

    #[test]
    fn what_was_not_measured_is_missed() {
        for budget in [Budget::AtMost(1.0), Budget::AtLeast(1.0)] {
            assert!(!within(f64::NAN, None, budget));
            assert!(!within(1.0, Some(f64::NAN), budget));
            assert!(!within(f64::NAN, Some(1.0), budget));
        }
    }
}
