use super::*;

fn memory() -> Memory {
    Memory::new(1 << 20).unwrap()
}

#[test]
fn bytes_come_back_and_know_who_wrote_them() {
    let m = memory();
    let a = m.allocate(1000, Kind::Device).unwrap();
    assert_eq!(a % GRANULE, 0);
    m.write(a + 10, b"hello").unwrap();
    let mut back = [0; 5];
    m.read(a + 10, &mut back).unwrap();
    assert_eq!(&back, b"hello");
    let view = m.view();
    let region = view.find(a + 999).unwrap();
    assert!(region.is_initialised(a + 10, 5));
    assert!(!region.is_initialised(a + 9, 2));
    assert!(!region.is_initialised(a + 14, 2));
    assert!(view.find(a + 1000).is_none() && view.find(a - 1).is_none());

    let b = m.allocate(1000, Kind::Device).unwrap();
    m.copy(b + 1, a, 20).unwrap();
    let view = m.view();
    let region = view.find(b).unwrap();
    assert!(region.is_initialised(b + 11, 5) && !region.is_initialised(b + 10, 1));
    m.copy(b + 3, b + 1, 20).unwrap(); // overlapping, forwards
    assert!(region.is_initialised(b + 13, 5) && !region.is_initialised(b + 12, 1));
    m.fill(b, &[1, 2, 3, 4], 250).unwrap();
    assert!(region.is_initialised(b, 1000));
    let mut four = [0; 4];
    m.read(b + 996, &mut four).unwrap();
    assert_eq!(four, [1, 2, 3, 4]);
}

#[test]
fn a_long_overlapping_copy_moves_its_bitmap_too() {
    let m = memory();
    let a = m.allocate(4096, Kind::Device).unwrap();
    for i in (0..4096).step_by(3) {
        m.write(a + i, &[i as u8]).unwrap();
    }
    for (to, from) in [(7, 0), (0, 7), (300, 100), (100, 300)] {
        let view = m.view();
        let region = view.find(a).unwrap();
        let expected: Vec<bool> = (0..3000).map(|i| region.is_initialised(a + from + i, 1)).collect();
        m.copy(a + to, a + from, 3000).unwrap();
        let got: Vec<bool> = (0..3000).map(|i| region.is_initialised(a + to + i, 1)).collect();
        assert!(expected == got, "from {from} to {to}");
    }
}

#[test]
fn accesses_outside_are_refused_with_what_is_there() {
    let m = memory();
    let a = m.allocate(64, Kind::Device).unwrap();
    let e = m.write(a + 60, &[0; 8]).unwrap_err().to_string();
    assert!(e.contains(&format!("0 bytes past the end of the 64-byte allocation at {a:#x}")), "{e}");
    let e = m.read(a + 76, &mut [0]).unwrap_err().to_string();
    assert!(e.contains("12 bytes past the end of the 64-byte allocation"), "{e}");
    assert!(m.describe(a - 4).contains("4 bytes before the 64-byte allocation"), "{}", m.describe(a - 4));
    assert!(m.describe(0).contains("null pointer"));
    let local = 0u8;
    assert!(m.describe(&raw const local as u64).contains("a host address"));
    m.free(a).unwrap();
    assert!(m.describe(a + 8).contains("byte 8 of an allocation of 64 bytes"), "{}", m.describe(a + 8));
    let e = m.free(a).unwrap_err().to_string();
    assert!(e.contains("freed before"), "{e}");
}

#[test]
fn capacity_counts_bytes_and_addresses_are_not_used_twice() {
    let m = memory();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let a = m.allocate(1 << 19, Kind::Device).unwrap();
        let b = m.allocate(1 << 19, Kind::Managed).unwrap();
        assert_eq!(
            m.allocate(1, Kind::Device),
            Err(Error::OutOfMemory { asked: 1, free: 0, capacity: 1 << 20 })
        );
        assert!(seen.insert(a), "{a:#x} again");
        m.free(a).unwrap();
        m.free(b).unwrap();
    }
    assert_eq!(m.free_bytes(), 1 << 20);
    assert_eq!(m.allocate(0, Kind::Device), Err(Error::Empty));
    assert!(m.allocate(usize::MAX, Kind::Device).is_err());
    assert!(m.allocate(usize::MAX, Kind::Pinned).is_err());
}

#[test]
fn freed_pages_read_as_zero_and_neighbours_keep_theirs() {
    let m = memory();
    let (a, b) = (m.allocate(10_000, Kind::Device).unwrap(), m.allocate(10_000, Kind::Device).unwrap());
    let c = m.allocate(10_000, Kind::Device).unwrap();
    for x in [a, b, c] {
        m.fill(x, &[7], 10_000).unwrap();
    }
    let view = m.view();
    let old = view.find(b).unwrap();
    m.free(b).unwrap();
    // SAFETY: the bytes stay mapped as long as the region lives, freed or not.
    assert_eq!(unsafe { old.host(b + 5000).read() }, 0);
    for x in [a, c] {
        let mut back = vec![0; 10_000];
        m.read(x, &mut back).unwrap();
        assert!(back.iter().all(|v| *v == 7));
    }
}

#[test]
fn the_range_is_used_again_only_when_it_ends() {
    let m = memory();
    let keep = m.allocate(100, Kind::Device).unwrap();
    let first = m.allocate(5000, Kind::Device).unwrap();
    m.write(first, &[1; 5000]).unwrap();
    m.free(first).unwrap();
    m.lock().next = u64::MAX; // as after as many allocations as the range holds
    let again = m.allocate(5000, Kind::Device).unwrap();
    assert!(again > keep && again <= first, "{again:#x}");
    assert!(m.lock().freed.is_empty());
    assert!((0..5000).all(|i| !m.view().find(again).unwrap().is_initialised(again + i, 1)));
    assert!(!m.describe(again).contains("freed"));
    assert!(m.allocate(100, Kind::Device).unwrap() > again);
}

#[test]
fn host_memory_has_one_address() {
    let m = memory();
    let pinned = m.allocate(100, Kind::Pinned).unwrap();
    // SAFETY: pinned memory is host memory at that address.
    unsafe { (pinned as *mut u8).add(5).write(9) };
    let mut back = [0];
    m.read(pinned + 5, &mut back).unwrap();
    assert_eq!(back, [9]);
    assert_eq!(m.free_bytes(), 1 << 20);
    assert!(m.free(pinned).is_err());

    let mut own = vec![3u8; 50];
    let addr = own.as_mut_ptr() as u64;
    // SAFETY: `own` outlives the registration.
    unsafe { m.register(own.as_mut_ptr(), 50) }.unwrap();
    // SAFETY: as above; refused in any case.
    assert!(matches!(unsafe { m.register(own.as_mut_ptr(), 10) }, Err(Error::Registered { .. })));
    assert!(m.view().find(addr + 49).is_some_and(|r| r.is_initialised(addr, 50)));
    m.unregister(addr).unwrap();
    assert!(m.unregister(addr).is_err());
    m.free_host(pinned).unwrap();
}

#[test]
fn a_view_keeps_what_it_shows_mapped() {
    let m = memory();
    let pinned = m.allocate(100, Kind::Pinned).unwrap();
    let device = m.allocate(100, Kind::Device).unwrap();
    let view = m.view();
    m.free_host(pinned).unwrap();
    drop(m);
    for address in [pinned, device] {
        // SAFETY: the view holds the region, which keeps the bytes mapped.
        unsafe { view.find(address).unwrap().host(address + 99).write(1) };
    }
}
