//! What an address is, in words.

use super::{GRANULE, Kind, Memory, Region};

impl Memory {
    /// What is at `addr`, as a phrase for a message: `12 bytes past the end of the 4096-byte allocation at 0x…`.
    pub fn describe(&self, addr: u64) -> String {
        let state = self.lock();
        let before = state.live.range(..=addr).next_back().map(|(_, r)| &**r);
        if let Some(region) = before.filter(|r| r.contains(addr, 1)) {
            return format!("byte {} of {}", addr - region.base, name(region));
        }
        if addr < 1 << 16 {
            return format!("{addr} bytes past a null pointer");
        }
        let freed = state.freed.range(..=addr).next_back().map(|(base, len)| (*base, *len));
        if let Some((base, len)) = freed.filter(|(base, len)| addr - base < *len as u64) {
            let at = addr - base;
            return format!("byte {at} of an allocation of {len} bytes at {base:#x} freed before");
        }
        // The nearest end below it, unless a start above is nearer still.
        let below = before.map(|r| (addr - r.end(), name(r)));
        let freed = freed.map(|(b, l)| {
            (addr - b - l as u64, format!("an allocation of {l} bytes at {b:#x} freed before"))
        });
        let below = [below, freed].into_iter().flatten().min_by_key(|(distance, _)| *distance);
        let above = state.live.range(addr..).next().map(|(_, r)| (r.base - addr, name(r)));
        let near = |distance: u64| self.is_device_address(addr) || distance < GRANULE;
        match (below.filter(|(d, _)| near(*d)), above.filter(|(d, _)| near(*d))) {
            (Some((past, what)), None) => format!("{past} bytes past the end of {what}"),
            (Some((past, what)), Some((ahead, _))) if past <= ahead => {
                format!("{past} bytes past the end of {what}")
            }
            (_, Some((ahead, what))) => format!("{ahead} bytes before {what}"),
            (None, None) if self.is_device_address(addr) => {
                "a device address that was never allocated".into()
            }
            (None, None) => "a host address (neither page-locked nor registered), or none at all".into(),
        }
    }
}

fn name(region: &Region) -> String {
    let what = match region.kind {
        Kind::Device => "allocation",
        Kind::Variable => "module variable",
        Kind::Managed => "managed allocation",
        Kind::Pinned => "page-locked host allocation",
        Kind::Registered => "registered host range",
    };
    format!("the {}-byte {what} at {:#x}", region.len, region.base)
}
