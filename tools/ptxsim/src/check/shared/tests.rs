//! Tests of the shadow by itself; `tests/checker.rs` and `tests/planted.rs` have it in kernels.

use super::*;

fn all(clocks: &mut Clocks) {
    clocks.meet(&(0..64).collect::<Vec<_>>(), true);
}

#[test]
fn reads_and_writes_are_ordered_by_barriers() {
    let mut clocks = Clocks::new(0, 64);
    let mut shadow = SharedShadow::new(256, 4, 96);
    assert_eq!(shadow.read(&clocks, 0, 0, 4).unwrap_err().0, Kind::Uninitialised);
    shadow.write(&clocks, 0, 0, 4).unwrap();
    shadow.read(&clocks, 0, 0, 4).unwrap();
    assert_eq!(shadow.read(&clocks, 40, 0, 4).unwrap_err().0, Kind::Race);
    all(&mut clocks);
    shadow.read(&clocks, 41, 0, 4).unwrap();
    assert_eq!(shadow.write(&clocks, 2, 0, 4).unwrap_err().0, Kind::Race);
    all(&mut clocks);
    shadow.write(&clocks, 3, 0, 4).unwrap();
}

#[test]
fn reads_by_lanes_that_others_know_at_different_times_are_told_apart() {
    let mut clocks = Clocks::new(0, 64);
    let mut shadow = SharedShadow::new(256, 4, 96);
    shadow.write(&clocks, 0, 0, 4).unwrap();
    all(&mut clocks);
    shadow.read(&clocks, 1, 0, 4).unwrap();
    clocks.meet(&[1, 40], false);
    shadow.read(&clocks, 2, 0, 4).unwrap();
    clocks.meet(&[2, 40], false);
    shadow.write(&clocks, 40, 0, 4).unwrap();
    // And the other way round: lane 1's read is unknown to the writer.
    all(&mut clocks);
    shadow.read(&clocks, 1, 0, 4).unwrap();
    clocks.meet(&[3, 40], false);
    shadow.read(&clocks, 2, 0, 4).unwrap();
    clocks.meet(&[2, 40], false);
    assert_eq!(shadow.write(&clocks, 40, 0, 4).unwrap_err().0, Kind::Race);
}

#[test]
fn lanes_that_read_together_are_all_noted_and_refused_where_one_look_is_not_enough() {
    let mut clocks = Clocks::new(0, 64);
    let mut shadow = SharedShadow::new(256, 4, 96);
    let together = |shadow: &mut SharedShadow, clocks: &Clocks, lanes: u32| {
        shadow.read_together(clocks, 0, lanes, clocks.of(0).floor, 0, 8)
    };
    assert!(!together(&mut shadow, &clocks, 0b110), "nothing wrote there");
    shadow.write(&clocks, 0, 0, 8).unwrap();
    assert!(!together(&mut shadow, &clocks, 0b110), "no barrier since the write");
    all(&mut clocks);
    shadow.start_copy(&clocks, 9, 4, 4).unwrap();
    assert!(!together(&mut shadow, &clocks, 0b110), "a copy to the second cell is under way");
    shadow.copied(&clocks, 9, 4, 4);
    all(&mut clocks);
    assert!(together(&mut shadow, &clocks, 0b1_0110));
    // A writer that knows of two of the three readers races with the third, whichever it is.
    for unknown in [1, 2, 4] {
        let mut clocks = Clocks::new(0, 64);
        let mut shadow = SharedShadow::new(256, 4, 96);
        shadow.write(&clocks, 0, 0, 8).unwrap();
        all(&mut clocks);
        assert!(together(&mut shadow, &clocks, 0b1_0110));
        let known: Vec<u32> = [1, 2, 4, 40].into_iter().filter(|lane| *lane != unknown).collect();
        clocks.meet(&known, false);
        for cell in [0, 4] {
            let text = shadow.write(&clocks, 40, cell, 4).unwrap_err().1;
            assert!(text.ends_with(&format!("read by thread {unknown}")), "{text}");
        }
        clocks.meet(&[unknown, 40], false);
        assert!(shadow.write(&clocks, 40, 0, 8).is_ok());
    }
}

#[test]
fn asynchronous_copies_are_there_once_waited_for() {
    let mut clocks = Clocks::new(0, 64);
    let mut shadow = SharedShadow::new(256, 4, 96);
    shadow.start_copy(&clocks, 5, 16, 16).unwrap();
    assert_eq!(shadow.read(&clocks, 5, 16, 4).unwrap_err().0, Kind::UnwaitedAsync);
    shadow.copied(&clocks, 5, 16, 16);
    shadow.read(&clocks, 5, 20, 4).unwrap();
    assert_eq!(shadow.read(&clocks, 6, 20, 4).unwrap_err().0, Kind::Race);
    all(&mut clocks);
    shadow.read(&clocks, 6, 20, 4).unwrap();
}

#[test]
fn tensor_cores_need_a_proxy_fence_and_hold_what_they_read() {
    let mut clocks = Clocks::new(0, 64);
    let mut shadow = SharedShadow::new(256, 4, 96);
    shadow.write(&clocks, 1, 0, 16).unwrap();
    all(&mut clocks);
    assert_eq!(shadow.start_read(&clocks, 0, 0, 16).unwrap_err().0, Kind::ProxyFence);
    shadow.end_read(&clocks, 0, 0, 16);
    clocks.proxy_fence(1);
    all(&mut clocks);
    shadow.start_read(&clocks, 0, 0, 16).unwrap();
    assert_eq!(shadow.write(&clocks, 0, 0, 4).unwrap_err().0, Kind::Race);
    shadow.end_read(&clocks, 0, 0, 16);
    shadow.write(&clocks, 0, 4, 4).unwrap();
    assert_eq!(shadow.write(&clocks, 2, 8, 4).unwrap_err().0, Kind::Race);
}
