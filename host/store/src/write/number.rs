//! Rounding of floats as Odoo does it: to a step, ties away from zero, forgiving the last bits of binary fractions.

/// Rounds to a number of decimal digits.
#[must_use]
pub fn round_digits(value: f64, digits: u8) -> f64 {
    round_step(value, 10f64.powi(-i32::from(digits)))
}

/// Rounds to a multiple of `step` (0.01; 0.05 for coins). Values that are no number stay as they are.
#[must_use]
pub fn round_step(value: f64, step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() || !value.is_finite() {
        return value;
    }
    if value == 0.0 {
        return 0.0;
    }
    // Dividing by 100 loses less than multiplying by 0.01.
    let (scaled, back): (f64, Box<dyn Fn(f64) -> f64>) = if step < 1.0 {
        let factor = inverse(step);
        (value * factor, Box::new(move |v| v / factor))
    } else {
        (value / step, Box::new(move |v| v * step))
    };
    // 2.675 is a little less than 2.675: a nudge of a few units in the last place tips such ties.
    let nudge = (scaled.abs().log2() - 50.0).exp2();
    back(half_away(scaled + nudge.copysign(scaled)))
}

/// Nearest whole number, ties away from zero. Beyond 2⁵³ halves no longer exist and the value is nudged up,
/// as Odoo's shim does.
fn half_away(value: f64) -> f64 {
    let rounded = value.round_ties_even();
    if (value + 1.0).round_ties_even() - rounded != 1.0 {
        return value + 0.5f64.copysign(value);
    }
    rounded.copysign(value)
}

/// 1 / step, exact for powers of ten.
fn inverse(step: f64) -> f64 {
    let digits = (-step.log10()).round();
    let power = 10f64.powf(digits);
    // The shortest text of 0.01 is what people mean by it, and so is that of its inverse.
    if (1.0 / power - step).abs() <= f64::EPSILON * step { power } else { 1.0 / step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_away_from_zero() {
        for (value, digits, expected) in [
            (2.675, 2, 2.68),
            (-2.675, 2, -2.68),
            (1.005, 2, 1.01),
            (1.0055, 3, 1.006),
            (0.5, 0, 1.0),
            (1.5, 0, 2.0),
            (2.5, 0, 3.0),
            (0.300_000_000_000_000_04, 2, 0.3),
            (0.0, 2, 0.0),
        ] {
            assert_eq!(round_digits(value, digits), expected, "{value} to {digits} digits");
        }
    }

    #[test]
    fn steps_need_not_be_powers_of_ten() {
        assert_eq!(round_step(1.3, 0.5), 1.5);
        assert_eq!(round_step(12.0, 5.0), 10.0);
        assert_eq!(round_step(f64::INFINITY, 0.01), f64::INFINITY);
    }
}
