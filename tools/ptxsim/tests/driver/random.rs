//! Calls in no order with arguments that are right, stale or nonsense: each gets a status, and none brings the driver
//! down. Captures are not of global mode, as that forbids calls to other tests.

use super::*;

/// What earlier calls gave, and nonsense.
struct Pool {
    seed: u64,
    values: Vec<usize>,
}

impl Pool {
    fn random(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % n
    }

    fn pick(&mut self) -> usize {
        match self.random(8) {
            0 => [0, 1, 2, 3, 0xdead_beef, usize::MAX][self.random(6)],
            _ if self.values.is_empty() => 0,
            _ => {
                let back = self.random(self.values.len().min(12)); // of late, so that much of it is still good
                self.values[self.values.len() - 1 - back]
            }
        }
    }

    fn add(&mut self, status: u32, value: usize) -> u32 {
        if status == 0 {
            self.values.push(value);
        }
        status
    }
}

fn call(p: &mut Pool, which: usize) -> u32 {
    let (a, b, len) = (p.pick(), p.pick(), p.random(5000));
    let mut handle = 0usize;
    let mut number = 0i32;
    let mut host = [0u32; 1250];
    let at = host.as_mut_ptr().cast::<c_void>();
    match which {
        0 => {
            let mut address = 0;
            let got = status!(cuMemAlloc_v2(&mut address, len));
            p.add(got, address as usize)
        }
        1 => {
            let mut address = 0;
            let got = status!(cuMemAllocAsync(&mut address, len, b));
            p.add(got, address as usize)
        }
        2 => {
            let got = status!(cuStreamCreate(&mut handle, (len % 3) as u32));
            p.add(got, handle)
        }
        3 => {
            let got = status!(cuEventCreate(&mut handle, (len % 5) as u32));
            p.add(got, handle)
        }
        4 => {
            // By itself, a capture would hardly ever come to an end unspoiled.
            status!(cuStreamBeginCapture_v2(a, 1 + len as i32 % 2));
            status!(cuMemsetD32Async(b as u64, 7, 1, a));
            let got = status!(cuStreamEndCapture(a, &mut handle));
            p.add(got, handle)
        }
        5 => {
            let got = status!(cuGraphInstantiateWithFlags(&mut handle, a, (len % 3) as u64));
            p.add(got, handle)
        }
        6 => {
            let got = status!(cuModuleGetFunction(&mut handle, a, c"add_one".as_ptr()));
            p.add(got, handle)
        }
        7 => {
            let module = module_or_status();
            module.map_or_else(|status| status, |m| p.add(0, m))
        }
        8 => status!(cuMemFree_v2(a as u64)),
        9 => status!(cuMemFreeAsync(a as u64, b)),
        10 => status!(cuMemcpyHtoD_v2(a as u64, at, len)),
        11 => status!(cuMemcpyDtoH_v2(at, a as u64, len)),
        12 => status!(cuMemcpyHtoDAsync_v2(a as u64, at, len, b)),
        13 => status!(cuMemcpyDtoHAsync_v2(at, a as u64, len, b)),
        14 => status!(cuMemcpyDtoDAsync_v2(a as u64, b as u64, len, 0)),
        15 => status!(cuMemsetD32Async(a as u64, 7, len, b)),
        16 => status!(cuStreamDestroy_v2(a)),
        17 => status!(cuStreamSynchronize(a)),
        18 => status!(cuStreamQuery(a)),
        19 => status!(cuStreamWaitEvent(a, b, (len % 3) as u32)),
        20 => status!(cuStreamBeginCapture_v2(a, 1 + len as i32 % 3)),
        21 => status!(cuStreamIsCapturing(a, &mut number)),
        22 => status!(cuEventRecord(a, b)),
        23 => status!(cuEventQuery(a)),
        24 => status!(cuEventSynchronize(a)),
        25 => {
            status!(cuEventRecord(a, 0));
            status!(cuEventSynchronize(a));
            status!(cuEventElapsedTime(&mut 0.0, a, if len % 2 == 0 { a } else { b }))
        }
        26 => status!(cuEventDestroy_v2(a)),
        27 => status!(cuGraphLaunch(a, b)),
        28 => status!(cuGraphExecDestroy(a)),
        29 => status!(cuGraphDestroy(a)),
        30 => status!(cuModuleUnload(a)),
        31 => status!(cuFuncGetAttribute(&mut number, len as i32 % 20, a)),
        32 => status!(cuPointerGetAttribute((&raw mut handle).cast(), len as i32 % 22, a as u64)),
        33 => status!(cuCtxSynchronize()),
        // Without threads that do anything, as it is given no memory.
        _ => launch(a, b, 0, 0),
    }
}

fn module_or_status() -> Result<Handle, u32> {
    let (mut module, ptx) = (0, CString::new(PTX).unwrap());
    match status!(cuModuleLoadData(&mut module, ptx.as_ptr())) {
        0 => Ok(module),
        status => Err(status),
    }
}

#[test]
fn no_order_of_calls_brings_the_driver_down() {
    let mut succeeded = [0; 35];
    for seed in 0..50 {
        let _context = Context::new();
        let mut pool = Pool { seed, values: Vec::new() };
        for step in 0..2000 {
            let which = pool.random(35);
            let status = call(&mut pool, which);
            assert!(status != 999 && status < 1000, "seed {seed}, step {step}: call {which} gives {status}");
            if status == 700 {
                break; // queued work met memory that was freed meanwhile; the context is of no more use
            }
            succeeded[which] += u32::from(status == 0);
        }
    }
    // The calls mean something: each has succeeded.
    assert!(succeeded.iter().all(|n| *n > 0), "{succeeded:?}");
}
