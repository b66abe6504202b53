//! Says what its clocks and its random numbers show.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    let wall = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|time| time.as_secs());
    let (begin, wall_before) = (std::time::Instant::now(), wall());
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let slept = begin.elapsed().as_millis();
    let random = wasip2::random::random::get_random_u64();
    let insecure = wasip2::random::insecure::get_insecure_random_u64();
    Ok(format!("{:?} {:?} {slept} {random} {insecure}", wall_before.ok(), wall().ok()))
}

triggerbox::script!(run);
