//! Takes memory a megabyte at a time, and keeps it. The limit on memory stops it.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        if kept.len() % 16 == 0 {
            info!("{} MiB and not enough", kept.len());
        }
    }
}

triggerbox::script!(run);
