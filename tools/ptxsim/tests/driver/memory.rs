//! Allocations, copies, fills, tensor maps.

use super::*;

#[test]
fn memory_is_allocated_copied_filled_and_freed() {
    let _context = Context::new();
    let (a, b) = (alloc(100), alloc(100));
    write(a, &[5; 100]);
    ok!(cuMemsetD32_v2(a + 40, 9, 3), cuMemcpyDtoDAsync_v2(b, a, 400, 0));
    let words = read(b, 100);
    assert_eq!((words[9], words[10], words[12], words[13]), (5, 9, 9, 5));
    assert_eq!(status!(cuMemsetD32_v2(a + 2, 0, 1)), 1);
    assert_eq!(status!(cuMemsetD32_v2(a, 0, 101)), 1);
    let word = 0u32;
    let host = &raw const word as *const c_void;
    assert_eq!(status!(cuMemcpyHtoD_v2(a + 400, host, 4)), 1);
    assert_eq!(status!(cuMemcpyHtoD_v2(a, null(), 4)), 1);
    assert_eq!(status!(cuMemcpyHtoD_v2(a, a as *const c_void, 4)), 1);
    assert_eq!(status!(cuMemFree_v2(a + 4)), 1);
    ok!(cuMemFree_v2(a), cuMemFree_v2(0));
    assert_eq!(status!(cuMemFree_v2(a)), 1);
    assert_eq!(status!(cuMemcpyHtoD_v2(a, host, 4)), 1);
    let mut too_much = 0;
    assert_eq!(status!(cuMemAlloc_v2(&mut too_much, 65 << 20)), 2);
    assert_eq!(status!(cuMemAlloc_v2(&mut too_much, 0)), 1);
    let mut value = 0u64;
    ok!(cuPointerGetAttribute(&raw mut value as *mut c_void, 11, b + 8));
    assert_eq!(value, b);
}

#[test]
fn rows_are_copied_by_pitch() {
    let _context = Context::new();
    let device = alloc(64);
    write(device, &(0..64).collect::<Vec<_>>());
    let mut host = [0u32; 12];
    let copy = Copy2D {
        from_x: 8,
        from_y: 1,
        from_kind: 2,
        from_device: device,
        from_pitch: 32,
        to_kind: 1,
        to_host: host.as_mut_ptr() as usize,
        to_pitch: 16,
        width: 12,
        height: 3,
        ..Copy2D::default()
    };
    ok!(cuMemcpy2D_v2(&copy));
    assert_eq!(host, [10, 11, 12, 0, 18, 19, 20, 0, 26, 27, 28, 0]);
    assert_eq!(status!(cuMemcpy2D_v2(&Copy2D { from_pitch: 16, ..copy })), 1);
}

#[test]
fn asynchronous_copies_read_pageable_memory_at_once_and_pinned_memory_late() {
    let _context = Context::new();
    let (device, stream) = (alloc(2), stream(NON_BLOCKING));
    let mut pageable = 1u32;
    let mut pinned = null_mut();
    ok!(cuMemAllocHost_v2(&mut pinned, 8));
    let pinned: *mut u32 = pinned.cast();
    // SAFETY: eight bytes of page-locked memory, which is host memory.
    unsafe { pinned.write(1) };
    ok!(
        cuMemcpyHtoDAsync_v2(device, &raw const pageable as *const c_void, 4, stream),
        cuMemcpyHtoDAsync_v2(device + 4, pinned.cast(), 4, stream),
    );
    pageable = 2;
    // SAFETY: as above.
    unsafe { pinned.write(2) };
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(device, 2), [1, 2]);
    // Back to pinned memory: late. To pageable memory: at once.
    ok!(cuMemcpyDtoHAsync_v2(pinned.cast(), device, 4, stream));
    // SAFETY: as above.
    assert_eq!(unsafe { pinned.read() }, 2);
    ok!(cuMemcpyDtoHAsync_v2(&raw mut pageable as *mut c_void, device, 4, stream));
    // SAFETY: as above.
    assert_eq!((pageable, unsafe { pinned.read() }), (1, 1));
    ok!(cuMemFreeHost(pinned.cast()), cuStreamDestroy_v2(stream));
}

#[test]
fn stream_ordered_memory_is_freed_in_its_turn() {
    let _context = Context::new();
    let stream = stream(NON_BLOCKING);
    let (mut a, mut b) = (0, 0);
    ok!(cuMemAllocAsync(&mut a, 4, stream), cuMemsetD32Async(a, 8, 1, stream));
    let mut got = 0u32;
    ok!(cuMemcpyDtoHAsync_v2(&raw mut got as *mut c_void, a, 4, stream), cuMemFreeAsync(a, stream));
    assert_eq!(got, 8);
    assert_eq!(status!(cuMemFreeAsync(a, stream)), 1);
    // The free is queued, so a full device runs it.
    ok!(cuMemAllocAsync(&mut b, 40 << 20, stream), cuMemFreeAsync(b, stream));
    ok!(cuMemAllocAsync(&mut b, 40 << 20, stream), cuMemFreeAsync(b, stream), cuStreamSynchronize(stream));
    assert_eq!(status!(cuMemFreeAsync(b, stream)), 1);
}

#[test]
fn tensor_maps_are_encoded_or_refused() {
    let _context = Context::new();
    let data = alloc(4096);
    let mut map = Map([0; 128]);
    let encode = |map: *mut Map, kind: u32, rank: u32, box_dims: &[u32; 2]| {
        let (dims, strides, steps) = ([64u64, 64], [256u64], [1u32, 1]);
        status!(cuTensorMapEncodeTiled(
            map,
            kind,
            rank,
            data,
            dims.as_ptr(),
            strides.as_ptr(),
            box_dims.as_ptr(),
            steps.as_ptr(),
            0,
            0,
            0,
            0
        ))
    };
    assert_eq!(encode(&mut map, 7, 2, &[32, 8]), 0);
    assert_ne!(map.0, [0; 128]);
    assert_eq!(encode(&mut map, 7, 2, &[32, 257]), 1);
    assert_eq!(encode(&mut map, 77, 2, &[32, 8]), 1);
    assert_eq!(encode(&mut map, 7, 6, &[32, 8]), 1);
    assert_eq!(encode(null_mut(), 7, 2, &[32, 8]), 1);
}
