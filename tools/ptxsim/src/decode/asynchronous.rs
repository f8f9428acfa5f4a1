//! Asynchronous copies, mbarriers and tensor cores.

use crate::lanes::alu::Operands;
use crate::lanes::registers::Reg;
use crate::parse::ast::Operand;
use crate::tensor_core::mma::Mma;
use crate::tensor_core::wgmma::{Major, Wgmma};

use super::instruction::Parts;
use super::memory::{allowed, scalar};
use super::{DecodeError, Decoder};
use crate::program::Code;
use crate::program::form::{
    Bulk, BulkKind, CopyAsync, Matrix, Mbarrier, MbarrierKind, MmaOp, Scalar, Update, WgmmaOp, Window,
};

impl Decoder<'_> {
    pub(super) fn asynchronous(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        match parts.base() {
            "cp" if parts.take("reduce") => {
                parts.take("async");
                self.bulk(parts, true)
            }
            "cp" => {
                parts.take("async");
                if parts.take("bulk") { self.bulk_after_name(parts, false) } else { self.copy_async(parts) }
            }
            "mbarrier" => self.mbarrier(parts),
            "ldmatrix" => self.matrix(parts, true),
            "stmatrix" => self.matrix(parts, false),
            "movmatrix" => self.move_matrix(parts),
            "mma" => self.mma(parts),
            _ => self.wgmma(parts),
        }
    }

    fn copy_async(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        if parts.take("commit_group") {
            self.emit(Code::CopyCommit, Operands::default());
            return Ok(());
        }
        if parts.take("wait_all") {
            self.emit(Code::CopyWait(None), Operands::default());
            return Ok(());
        }
        if parts.take("wait_group") {
            let operands = self.count(parts, 1..=1)?;
            let n = self.integer(&operands[0])?;
            let n = u32::try_from(n).or_else(|_| self.error(format!("cp.async.wait_group {n}")))?;
            self.emit(Code::CopyWait(Some(n)), Operands::default());
            return Ok(());
        }
        if parts.take("mbarrier") {
            let no_inc = parts.take("arrive") && parts.take("noinc");
            let generic = !(parts.take("shared") || parts.take("shared::cta"));
            parts.take("b64");
            let operands = self.count(parts, 1..=1)?;
            let (address, _) = self.address(&operands[0])?;
            let kind = if no_inc { MbarrierKind::CopyArriveNoInc } else { MbarrierKind::CopyArrive };
            return self.emit_mbarrier(kind, address, generic);
        }
        let cache = parts.take_one(&["ca", "cg"]);
        let shared = parts.take("shared") || parts.take("shared::cta");
        if cache.is_none() || !shared || !parts.take("global") {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        parts.take_one(&["L2::64B", "L2::128B", "L2::256B"]);
        let policy = parts.take("L2::cache_hint");
        let operands = self.count(parts, 3..=5)?;
        let operands = if policy { &operands[..operands.len() - 1] } else { operands };
        let (destination, _) = self.address(&operands[0])?;
        let (source, _) = self.address(&operands[1])?;
        let bytes = match self.integer(operands.get(2).unwrap_or(&Operand::Sink))? {
            bytes @ (4 | 8) if cache == Some("ca") => bytes as u32,
            16 => 16,
            other => return self.error(format!("{}: {other} bytes", parts.name())),
        };
        let (mut size, mut ignore) = (None, None);
        if let Some(operand) = operands.get(3) {
            let is_predicate = match operand {
                Operand::Name(name) => self.register_of(name).is_none(),
                Operand::Not(_) => true,
                _ => false,
            };
            if is_predicate {
                ignore = Some(self.condition(operand)?);
            } else {
                size = Some(self.value(operand, 32)?);
            }
        }
        self.granule(Window::Generic, bytes.min(4));
        let copy = CopyAsync { destination, source, bytes, size, ignore };
        self.emit(Code::CopyAsync(Box::new(copy)), Operands::default());
        Ok(())
    }

    fn bulk(&mut self, parts: &mut Parts, reduce: bool) -> Result<(), DecodeError> {
        if !parts.take("bulk") {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        self.bulk_after_name(parts, reduce)
    }

    fn bulk_after_name(&mut self, parts: &mut Parts, reduce: bool) -> Result<(), DecodeError> {
        if parts.take("commit_group") {
            self.emit(Code::BulkCommit, Operands::default());
            return Ok(());
        }
        if parts.take("wait_group") {
            let read = parts.take("read");
            let operands = self.count(parts, 1..=1)?;
            let n = self.integer(&operands[0])?;
            let n = u32::try_from(n).or_else(|_| self.error(format!("cp.async.bulk.wait_group {n}")))?;
            self.emit(Code::BulkWait(n, read), Operands::default());
            return Ok(());
        }
        if parts.take("prefetch") {
            parts.take_rest();
            self.emit(Code::Nothing, Operands::default());
            return Ok(());
        }
        let tensor = parts.take("tensor");
        let rank =
            parts.take_one(&["1d", "2d", "3d", "4d", "5d"]).map(|r| usize::from(r.as_bytes()[0] - b'0'));
        // Destination before source: `shared::cluster.global` loads, `global.shared::cta` stores.
        let spaces: Vec<_> = std::iter::from_fn(|| {
            parts.take_one(&[
                "L2::cache_hint",
                "tile",
                "im2col_no_offs",
                "im2col",
                "bulk_group",
                "mbarrier::complete_tx::bytes",
            ])
        })
        .collect();
        let policy = spaces.contains(&"L2::cache_hint");
        let first = parts.take_next().unwrap_or("");
        let second = parts.take_next().unwrap_or("");
        let load = match (first, second) {
            ("shared::cluster" | "shared::cta", "global") => true,
            ("global", "shared::cta") => false,
            _ => return self.error(format!("unknown instruction {}", parts.name())),
        };
        let combine = if reduce { Some(self.combine(parts, tensor)?) } else { None };
        if load == reduce && load {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        let operands = parts.operands();
        let operands = if policy { &operands[..operands.len().saturating_sub(1)] } else { operands };
        let too_few =
            DecodeError { line: self.source.line, message: format!("{}: too few operands", parts.name()) };
        let operand = |i: usize| operands.get(i).ok_or_else(|| too_few.clone());
        let (shared, global) = if load { (operand(0)?, operand(1)?) } else { (operand(1)?, operand(0)?) };
        let (mut size, mut mbarrier, mut next) = (None, None, 2);
        if !tensor {
            let bytes = operand(next)?;
            next += 1;
            size = Some(self.value(bytes, 32)?);
        }
        if load {
            let at = operand(next)?;
            next += 1;
            mbarrier = Some(self.address(at)?.0);
        }
        let offsets = match operands.get(next) {
            Some(vector @ Operand::Vector(_)) => {
                next += 1;
                let elements = self.elements(vector);
                elements.iter().map(|e| self.value(e, 16)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        if next != operands.len() {
            return self.error(format!("{}: {} operands", parts.name(), operands.len()));
        }
        let coordinates = match (global, tensor) {
            (Operand::Tensor(_, coordinates), true) => {
                coordinates.iter().map(|c| self.value(c, 32)).collect::<Result<Vec<_>, _>>()?
            }
            (_, false) => Vec::new(),
            _ => return self.error(format!("{}: no coordinates", parts.name())),
        };
        if tensor && rank != Some(coordinates.len()) {
            return self.error(format!("{}: {} coordinates", parts.name(), coordinates.len()));
        }
        let shared = Some(self.address(shared)?.0);
        let (global, _) = self.address(global)?;
        let kind = match (tensor, load, combine) {
            (false, true, _) => BulkKind::Load,
            (false, false, None) => BulkKind::Store,
            (true, true, _) => BulkKind::TensorLoad,
            (true, false, None) => BulkKind::TensorStore,
            (true, false, Some((update, _))) => BulkKind::TensorReduce(update),
            (false, false, Some((update, scalar))) => BulkKind::Reduce(update, scalar),
        };
        // Boxes of shared memory are checked as a whole; in global memory they may end at any element.
        self.granule(Window::Shared, 4);
        self.granule(Window::Global, if tensor { 2 } else { 4 });
        let bulk = Bulk { kind, shared, global, coordinates, offsets, size, mbarrier };
        self.emit(Code::Bulk(Box::new(bulk)), Operands::default());
        Ok(())
    }

    /// The operation of a reducing copy, and the type of one to plain memory.
    fn combine(&mut self, parts: &mut Parts, tensor: bool) -> Result<(Update, Scalar), DecodeError> {
        parts.take("noftz");
        let update = match parts.take_one(&["add", "min", "max", "inc", "dec", "and", "or", "xor"]) {
            Some("add") => Update::Add,
            Some("min") => Update::Min,
            Some("max") => Update::Max,
            Some("inc") => Update::Inc,
            Some("dec") => Update::Dec,
            Some("and") => Update::And,
            Some("or") => Update::Or,
            Some(_) => Update::Xor,
            None => return self.error(format!("unknown instruction {}", parts.name())),
        };
        if tensor {
            return Ok((update, Scalar::U32));
        }
        parts.take("noftz");
        match parts.take_next().and_then(scalar).filter(|&s| allowed(update, s)) {
            Some(scalar) => Ok((update, scalar)),
            None => self.error(format!("unknown instruction {}", parts.name())),
        }
    }

    fn emit_mbarrier(
        &mut self,
        kind: MbarrierKind,
        address: crate::program::form::Address,
        generic: bool,
    ) -> Result<(), DecodeError> {
        self.granule(Window::Shared, 8);
        let mbarrier = Mbarrier { kind, address, generic, value: None, state: None, predicate: None };
        self.emit(Code::Mbarrier(Box::new(mbarrier)), Operands::default());
        Ok(())
    }

    fn mbarrier(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let names = [
            // "arrive" before "expect_tx", which may modify it
            "init",
            "inval",
            "arrive_drop",
            "arrive",
            "expect_tx",
            "complete_tx",
            "test_wait",
            "try_wait",
            "pending_count",
        ];
        let Some(name) = parts.take_one(&names) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        parts.take("noComplete");
        let expects = name == "arrive" && parts.take("expect_tx");
        let parity = parts.take("parity");
        parts.take_one(&["acquire", "release", "relaxed"]);
        parts.take_one(&["cta", "cluster"]);
        let generic = !(parts.take("shared::cta") || parts.take("shared::cluster") || parts.take("shared"));
        parts.take("b64");
        let kind = match name {
            "init" => MbarrierKind::Init,
            "inval" => MbarrierKind::Invalidate,
            "expect_tx" => MbarrierKind::ExpectTx,
            "complete_tx" => MbarrierKind::CompleteTx,
            "arrive_drop" => MbarrierKind::ArriveDrop,
            "arrive" if expects => MbarrierKind::ArriveExpectTx,
            "arrive" => MbarrierKind::Arrive,
            "test_wait" if parity => MbarrierKind::TestParity,
            "test_wait" => MbarrierKind::TestState,
            "try_wait" if parity => MbarrierKind::TryParity,
            "try_wait" => MbarrierKind::TryState,
            _ => MbarrierKind::PendingCount,
        };
        let operands = self.count(parts, 1..=4)?;
        let (mut state, mut predicate, mut value, mut rest) = (None, None, None, operands);
        if kind == MbarrierKind::PendingCount {
            let [count, from] = operands else {
                return self.error("mbarrier.pending_count takes two operands");
            };
            let value = Some(self.destination_of(count, 32)?);
            let state = Some(self.value(from, 64)?);
            let base = self.constant(0, true);
            let address = crate::program::form::Address { base, wide: true, offset: 0 };
            let op = Mbarrier { kind, address, generic, value, state, predicate };
            self.emit(Code::Mbarrier(Box::new(op)), Operands::default());
            return Ok(());
        }
        // The first operand is what is written, unless it is the address.
        if let [first, tail @ ..] = operands
            && !matches!(first, Operand::Address(..))
        {
            rest = tail;
            let waits = matches!(name, "test_wait" | "try_wait");
            if waits {
                predicate = self.predicate(first)?;
            } else if !matches!(first, Operand::Sink) {
                state = Some(self.destination_of(first, 64)?);
            }
        }
        let Some((at, tail)) = rest.split_first() else {
            return self.error(format!("{}: no address", parts.name()));
        };
        let (address, _) = self.address(at)?;
        if let Some(operand) = tail.first() {
            let by_state = matches!(kind, MbarrierKind::TestState | MbarrierKind::TryState);
            if by_state {
                state = Some(self.value(operand, 64)?);
            } else {
                value = Some(self.value(operand, 32)?);
            }
        }
        self.granule(Window::Shared, 8);
        let op = Mbarrier { kind, address, generic, value, state, predicate };
        self.emit(Code::Mbarrier(Box::new(op)), Operands::default());
        Ok(())
    }

    fn matrix(&mut self, parts: &mut Parts, load: bool) -> Result<(), DecodeError> {
        let known = parts.take("sync") && parts.take("aligned") && parts.take("m8n8");
        let count = match parts.take_one(&["x1", "x2", "x4"]) {
            Some("x1") => 1,
            Some("x2") => 2,
            Some(_) => 4,
            None => 0,
        };
        let transposed = parts.take("trans");
        let generic = !(parts.take("shared") || parts.take("shared::cta"));
        if !known || count == 0 || !parts.take("b16") {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        let operands = self.count(parts, 2..=2)?;
        let (value, at) = if load { (&operands[0], &operands[1]) } else { (&operands[1], &operands[0]) };
        let (address, _) = self.address(at)?;
        let elements = self.elements(value);
        if elements.len() != count {
            return self.error(format!("{}: {} registers", parts.name(), elements.len()));
        }
        let mut registers = Vec::with_capacity(count);
        for element in elements {
            registers.push(if load { self.destination_of(element, 32)? } else { self.value(element, 32)? });
        }
        self.granule(Window::Shared, 4);
        let matrix = Box::new(Matrix { address, generic, registers, transposed });
        self.emit(
            if load { Code::LoadMatrix(matrix) } else { Code::StoreMatrix(matrix) },
            Operands::default(),
        );
        Ok(())
    }

    fn move_matrix(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let known = ["sync", "aligned", "m8n8", "trans", "b16"].iter().all(|m| parts.take(m));
        if !known {
            return self.error(format!("unknown instruction {}", parts.name()));
        }
        let operands = self.count(parts, 2..=2)?;
        let a = self.value(&operands[1], 32)?;
        let d = self.destination_of(&operands[0], 32)?;
        self.emit(Code::MoveMatrix, Operands { d, s: [a, Reg(0), Reg(0), Reg(0)] });
        Ok(())
    }

    fn mma(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let Some(mma) = Mma::parse(&parts.take_rest()) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let operands = self.count(parts, 4..=4)?;
        let (d, a, b, c) = mma.registers();
        let bits = if mma.is_f64() { 64 } else { 32 };
        let mut fragments: [Vec<Reg>; 4] = Default::default();
        for (i, (operand, want)) in operands.iter().zip([d, a, b, c]).enumerate() {
            let elements = self.elements(operand);
            if elements.len() != want {
                return self.error(format!(
                    "{}: {} registers where {want} are needed",
                    parts.name(),
                    elements.len()
                ));
            }
            for element in elements {
                let reg =
                    if i == 0 { self.destination_of(element, bits)? } else { self.value(element, bits)? };
                fragments[i].push(reg);
            }
        }
        let [d, a, b, c] = fragments;
        self.emit(Code::Mma(Box::new(MmaOp { mma, d, a, b, c })), Operands::default());
        Ok(())
    }

    fn wgmma(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        if parts.take_one(&["fence"]).is_some() {
            parts.take("sync");
            parts.take("aligned");
            self.emit(Code::WgmmaFence, Operands::default());
            return Ok(());
        }
        if parts.take("commit_group") {
            parts.take("sync");
            parts.take("aligned");
            self.emit(Code::WgmmaCommit, Operands::default());
            return Ok(());
        }
        if parts.take("wait_group") {
            parts.take("sync");
            parts.take("aligned");
            let operands = self.count(parts, 1..=1)?;
            let n = self.integer(&operands[0])?;
            let n = u32::try_from(n).or_else(|_| self.error(format!("wgmma.wait_group {n}")))?;
            self.emit(Code::WgmmaWait(n), Operands::default());
            return Ok(());
        }
        let operands = self.count(parts, 4..=8)?;
        let from_registers = matches!(operands[1], Operand::Vector(_));
        let Some(wgmma) = Wgmma::parse(&parts.take_rest()) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        // scale-a and scale-b, then the majors of the operands in shared memory, if they may be chosen.
        let immediates = operands[4..].iter().map(|o| self.integer(o)).collect::<Result<Vec<_>, _>>()?;
        let (scales, majors) = immediates.split_at(immediates.len().min(2));
        let wanted = match (wgmma.can_transpose(), from_registers) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        let valid = matches!(scales, [-1 | 1, -1 | 1])
            && majors.len() == wanted
            && majors.iter().all(|m| matches!(m, 0 | 1));
        if !valid {
            return self.error(format!("{}: immediates {immediates:?}", parts.name()));
        }
        let major = |trans: Option<&i64>| if trans == Some(&1) { Major::Mn } else { Major::K };
        let a_major = if from_registers { Major::K } else { major(majors.first()) };
        let b_major = major(majors.last());
        let d = self
            .elements(&operands[0])
            .iter()
            .map(|e| self.destination_of(e, 32))
            .collect::<Result<Vec<_>, _>>()?;
        let a = match from_registers {
            true => self
                .elements(&operands[1])
                .iter()
                .map(|e| self.value(e, 32))
                .collect::<Result<Vec<_>, _>>()?,
            false => Vec::new(),
        };
        let a_descriptor = if from_registers { None } else { Some(self.value(&operands[1], 64)?) };
        let b_descriptor = self.value(&operands[2], 64)?;
        let scale_d = self.condition(&operands[3])?;
        if d.len() != wgmma.d_registers() || (from_registers && a.len() != 4) {
            return self.error(format!("{}: {} accumulators", parts.name(), d.len()));
        }
        let (negate_a, negate_b) = (scales[0] == -1, scales[1] == -1);
        let op = WgmmaOp {
            wgmma,
            d,
            a,
            a_descriptor,
            b_descriptor,
            a_major,
            b_major,
            negate_a,
            negate_b,
            scale_d,
        };
        self.emit(Code::Wgmma(Box::new(op)), Operands::default());
        Ok(())
    }
}
