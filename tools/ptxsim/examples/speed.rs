use ptxsim::{device::Device, launch::*, memory::*, module::Module};
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mem = Memory::new(1 << 32).unwrap();
    let dev = Device::from_env().unwrap();
    let alu = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry alu(.param .u64 p)
{ .reg .b32 %r<20>; .reg .b64 %rd<4>; .reg .pred %p<2>; .reg .f32 %f<8>;
 ld.param.u64 %rd1,[p]; mov.u32 %r1,%tid.x; mov.u32 %r2,0; mov.u32 %r3,12345; cvt.rn.f32.u32 %f1,%r1; mov.f32 %f2,0f3F800000;
L: add.s32 %r3,%r3,%r1; mul.lo.s32 %r4,%r3,%r1; xor.b32 %r3,%r4,%r2; shl.b32 %r5,%r3,3; fma.rn.f32 %f3,%f1,%f2,%f1; add.f32 %f2,%f3,%f2; mad.lo.s32 %r6,%r5,%r3,%r1; and.b32 %r3,%r6,1048575;
 shr.u32 %r7,%r3,2; or.b32 %r3,%r7,%r1; sub.s32 %r8,%r3,%r2; min.s32 %r3,%r8,%r6;
 add.s32 %r2,%r2,1; setp.lt.s32 %p1,%r2,20000; @%p1 bra L;
 cvt.rzi.s32.f32 %r9,%f2; add.s32 %r3,%r3,%r9; mul.wide.u32 %rd2,%r1,4; add.s64 %rd3,%rd1,%rd2; st.global.u32 [%rd3],%r3; ret; }
"#;
    let src = if a[1] == "alu" { alu.to_string() } else { std::fs::read_to_string(&a[1]).unwrap() };
    let m = Module::load(&src, &dev, &mem).unwrap();
    let mut o = Options::default();
    o.check = a[2] == "1";
    if a[1] == "alu" {
        let k = m.kernel("alu").unwrap();
        let p = mem.allocate(4096, Kind::Device).unwrap();
        let t = Instant::now();
        let out = launch(
            &k,
            &Config { grid: [2, 1, 1], block: [256, 1, 1], dynamic_shared: 0 },
            &p.to_le_bytes(),
            &mem,
            &o,
        );
        let s = t.elapsed().as_secs_f64();
        println!(
            "{:.3}s {:.2} G thread-instr/s {:?}",
            s,
            out.instructions as f64 * 32.0 / s / 1e9,
            out.findings.first()
        );
    } else {
        let (n, t, h, w, c, k) = (1usize, 4usize, 28usize, 28usize, 64usize, 64usize);
        let ms = n * t * h * w;
        let x = mem.allocate(ms * c * 2, Kind::Device).unwrap();
        let wt = mem.allocate(k * 27 * c * 2, Kind::Device).unwrap();
        let y = mem.allocate(ms * k * 2, Kind::Device).unwrap();
        mem.fill(x, &[0], ms * c * 2).unwrap();
        mem.fill(wt, &[0], k * 27 * c * 2).unwrap();
        let mut p = vec![];
        for v in [x, wt, y] {
            p.extend(v.to_le_bytes())
        }
        for v in [n, t, h, w, c, k] {
            p.extend((v as i32).to_le_bytes())
        }
        let kk = m.kernel("conv3d_fprop_bf16").unwrap();
        let t0 = Instant::now();
        let out = launch(
            &kk,
            &Config { grid: [(ms / 64) as u32, 1, 1], block: [128, 1, 1], dynamic_shared: 16384 },
            &p,
            &mem,
            &o,
        );
        let s = t0.elapsed().as_secs_f64();
        println!(
            "{:.3}s {:.2} GMAC/s {:.2} G thread-instr/s {} warp instr {:?}",
            s,
            (ms * 27 * c * k) as f64 / s / 1e9,
            out.instructions as f64 * 32.0 / s / 1e9,
            out.instructions,
            out.findings.first()
        );
    }
}
