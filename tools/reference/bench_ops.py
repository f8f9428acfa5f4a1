"""PyTorch's time for every distinct operation of the backbones: convolutions, instance norms, pools, heads and
loss, optimiser."""
import torch
import torch.nn.functional as F

import ref
from ref import BLOCKS, HDC, KerasSGD, hd_nce
from timing import fmt, free, med, storage


def clip_count(n, per_clip_elems):
    while n > 1 and n * per_clip_elems >= 2 ** 31:
        n //= 2
    return n


def op_convs(j):
    """every distinct conv of the chosen backbones: fprop, dgrad, wgrad."""
    dev, dt, mf = j["device"], storage(j["dtype"]), fmt(j["channels_last"])
    seen = {}
    for bb in j["backbones"]:
        for i, c in enumerate(ref.conv_layers(bb, thw=j["thw"])["convs"]):
            key = c[1:8]
            e = seen.setdefault(key, dict(macs=c[-1], used={}, first=[]))
            e["used"].setdefault(bb, []).append(c[0])
            if i == 0:
                e["first"].append(bb)
    rows = []
    for (ci, co, k, s, p, it, ot), e in seen.items():
        n = clip_count(j["op_clips"], max(ci * it[0] * it[1] * it[2], co * ot[0] * ot[1] * ot[2]))
        row = dict(cin=ci, cout=co, k=k, s=s, in_thw=it, out_thw=ot, n=n, used=e["used"], gmac_clip=e["macs"] / 1e9,
                   needs_dgrad=not e["first"])
        try:
            x = torch.randn(n, ci, *it, device=dev, dtype=dt).contiguous(memory_format=mf)
            w = (torch.randn(co, ci, *k, device=dev) * 0.05).to(dt).contiguous(memory_format=mf)
            y = F.conv3d(x, w, None, s, p)
            dy = torch.randn(y.shape, device=dev, dtype=dt).contiguous(memory_format=mf)
            del y
            bwd = lambda m: torch.ops.aten.convolution_backward(dy, x, w, None, s, p, (1, 1, 1), False, (0, 0, 0), 1, m)
            fns = dict(fprop=lambda: F.conv3d(x, w, None, s, p), wgrad=lambda: bwd([False, True, False]))
            if row["needs_dgrad"]:
                fns["dgrad"] = lambda: bwd([True, False, False])
            for nm, fn in fns.items():
                t = med(fn, dev, target_s=j["target_s"], warmup=1 if dev == "cpu" else 2)
                row[nm + "_ms"] = t
                row[nm + "_tflops"] = 2 * e["macs"] * n / t / 1e9
        except Exception as ex:                                  # noqa: BLE001
            row["error"] = str(ex)[:160]
        x = w = dy = None
        free(dev)
        rows.append(row)
    # what the convs alone would cost per clip, per backbone
    tot = {}
    for bb in j["backbones"]:
        t = 0.0
        for r in rows:
            m = len(r["used"].get(bb, []))
            if m:
                t += m * sum(r.get(q + "_ms", 0.0) for q in ("fprop", "dgrad", "wgrad")) / r["n"]
        tot[bb] = dict(conv_ms_per_clip=t, conv_only_clips_s=1e3 / t if t else None)
    return dict(rows=rows, totals=tot)


def op_norms(j):
    """IN fwd, IN+ReLU fwd, IN+ReLU bwd for every distinct (C, T,H,W); native eager and (compile) fused."""
    dev, dt, mf = j["device"], storage(j["dtype"]), fmt(j["channels_last"])
    shapes = {}
    for bb in j["backbones"]:
        for _, c, thw in ref.conv_layers(bb, thw=j["thw"])["norms"]:
            shapes.setdefault((c, thw), {}).setdefault(bb, 0)
            shapes[(c, thw)][bb] += 1
    rows = []

    def explicit(x, g, b):
        xf = x.float()
        v, m = torch.var_mean(xf, dim=(2, 3, 4), unbiased=False, keepdim=True)
        y = (xf - m) * torch.rsqrt(v + ref.EPS) * g.view(1, -1, 1, 1, 1) + b.view(1, -1, 1, 1, 1)
        return F.relu(y.to(x.dtype))

    impls = {"native": lambda x, g, b: F.relu(F.instance_norm(x, weight=g, bias=b, eps=ref.EPS), inplace=True)}
    order = sorted(shapes, key=lambda s: -s[0] * s[1][0] * s[1][1] * s[1][2])
    if j["compile"]:
        impls["compiled"] = None
    for c, thw in order:
        n = clip_count(j["op_clips"], c * thw[0] * thw[1] * thw[2])
        for impl, f in impls.items():
            if impl == "compiled":
                if order.index((c, thw)) >= 6:                  # compile time: the six largest only
                    continue
                torch._dynamo.reset()
                f = torch.compile(explicit, dynamic=False)
            row = dict(c=c, thw=thw, n=n, impl=impl, used=shapes[(c, thw)])
            x = g = b = y = dy = None
            try:
                x = torch.randn(n, c, *thw, device=dev, dtype=dt).contiguous(memory_format=mf).requires_grad_()
                g, b = torch.ones(c, device=dev, requires_grad=True), torch.zeros(c, device=dev, requires_grad=True)
                nb = x.numel() * x.element_size()
                with torch.no_grad():
                    if impl == "native":
                        t = med(lambda: F.instance_norm(x, weight=g, bias=b, eps=ref.EPS), dev, target_s=j["target_s"])
                        row.update(fwd_ms=t, fwd_gbs=2 * nb / t / 1e6)
                    t = med(lambda: f(x, g, b), dev, target_s=j["target_s"])
                    row.update(fwd_relu_ms=t, fwd_relu_gbs=2 * nb / t / 1e6)
                y = f(x, g, b)
                dy = torch.randn(y.shape, device=dev, dtype=dt).contiguous(memory_format=mf)
                t = med(lambda: torch.autograd.grad(y, (x, g, b), dy, retain_graph=True), dev, target_s=j["target_s"])
                row.update(bwd_relu_ms=t, bwd_relu_gbs=3 * nb / t / 1e6)
            except Exception as ex:                              # noqa: BLE001
                row["error"] = str(ex)[:160]
            x = g = b = y = dy = None
            free(dev)
            rows.append(row)
    return dict(rows=rows)


def op_misc(j):
    """max pools, slot pools, heads+loss (B videos), optimiser."""
    dev, dt, mf = j["device"], storage(j["dtype"]), fmt(j["channels_last"])
    rows = []

    def fb(name, fn, ins, nbytes, extra=None):
        row = dict(op=name, **(extra or {}))
        try:
            with torch.no_grad():
                t = med(fn, dev, target_s=j["target_s"])
            row["fwd_ms"] = t
            y = fn()
            dy = torch.randn_like(y) if y.dim() else torch.ones_like(y)
            tb = med(lambda: torch.autograd.grad(y, ins, dy, retain_graph=True), dev, target_s=j["target_s"])
            row["bwd_ms"] = tb
            if nbytes:
                row.update(fwd_gbs=nbytes / t / 1e6, bwd_gbs=nbytes / tb / 1e6)
        except Exception as ex:                                  # noqa: BLE001
            row["error"] = str(ex)[:160]
        rows.append(row)
        free(dev)

    for bb in j["backbones"]:
        info = ref.conv_layers(bb, thw=j["thw"])
        for name, c, k, s, p, it, ot in info["pools"]:
            n = clip_count(j["op_clips"], c * it[0] * it[1] * it[2])
            x = torch.randn(n, c, *it, device=dev, dtype=dt).contiguous(memory_format=mf).requires_grad_()
            el = x.element_size() * n * c
            fb(f"{bb}.{name} max k{k} {c}x{it}", lambda: F.max_pool3d(x, k, s, p), (x,),
               el * (it[0] * it[1] * it[2] + ot[0] * ot[1] * ot[2]), dict(n=n))
            x = None
        for k, shp in info["feats"].items():
            n = j["op_clips"]
            x = torch.randn(n, *shp, device=dev, dtype=dt).contiguous(memory_format=mf).requires_grad_()
            fb(f"{bb}.slot_pool{k} {shp}", lambda: ref.slot_pool(x), (x,), x.numel() * x.element_size(), dict(n=n))
            x = None
        m = HDC(bb).to(dev)
        b = j["videos"]
        sl = [{k: torch.randn(b, info["feats"][k][1], info["feats"][k][0], device=dev, requires_grad=True)
               for k in BLOCKS} for _ in range(3)]
        ins = [t for d in sl for t in d.values()] + list(m.heads.parameters())
        fb(f"{bb}.heads+loss B={b}", lambda: hd_nce(m.project(*sl))[0], ins, 0, dict(n=b))
        for p in m.parameters():
            p.grad = torch.randn_like(p)
        opt = KerasSGD(m.parameters())
        npar = sum(p.numel() for p in m.parameters())
        t = med(opt.step, dev, target_s=j["target_s"])
        rows.append(dict(op=f"{bb}.sgd {npar} params", fwd_ms=t, fwd_gbs=5 * 4 * npar / t / 1e6))
        del m, opt, sl, ins
        free(dev)
    return dict(rows=rows)
