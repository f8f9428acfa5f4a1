//! Nodes of graphs (driver API, "Graph Management").

use std::ffi::c_void;
use std::sync::Arc;

use super::api::{api, refuse};
use super::argument::{In, Out};
use super::copy::Copy3D;
use super::launch::{Pointers, Request};
use super::state::{Handle, State};
use super::status::{Result, Status};
use super::work::{Fill, HostFunction, Work};

/// `CUDA_KERNEL_NODE_PARAMS_v1`, with which `_v2` begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelParams {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    params: Pointers,
    extra: Pointers,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelParams2 {
    base: KernelParams,
    kernel: Handle,
    context: Handle,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FillParams {
    at: u64,
    pitch: usize,
    value: u32,
    size: u32,
    width: usize,
    height: usize,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HostParams {
    function: Option<HostFunction>,
    data: *mut c_void,
}

impl Work {
    /// `CUgraphNodeType`.
    fn node_type(&self) -> i32 {
        match self {
            Work::Launch(_) | Work::Fault(_) => 0,
            Work::Copy(_) => 1,
            Work::Fill(_) => 2,
            Work::Host(..) => 3,
            Work::Nothing => 5,
            Work::Record(_) => 7,
            Work::Free(_) => 11,
        }
    }
}

impl State {
    fn node(&self, node: Handle) -> Result<(Handle, usize)> {
        self.nodes
            .get(&node)
            .copied()
            .ok_or_else(|| refuse(Status::INVALID_VALUE, "there is no such node (was its graph destroyed?)"))
    }

    fn work_of(&mut self, node: Handle) -> Result<&mut Work> {
        let (graph, index) = self.node(node)?;
        self.graph(graph)?.nodes.get_mut(index).map(|n| &mut n.work).ok_or(Status::INVALID_VALUE)
    }

    /// Adds a node that depends on others of the graph; gives its handle to the caller.
    fn add(
        &mut self,
        out: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        work: Work,
    ) -> Result<()> {
        let mut waits = Vec::new();
        for node in dependencies.list(count)? {
            let (of, index) = self.node(node)?;
            if of != graph {
                return Err(refuse(Status::INVALID_VALUE, "a dependency is a node of another graph"));
            }
            waits.push(index);
        }
        if out.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let index = self.add_node(graph, work, waits)?;
        out.put(self.graph(graph)?.nodes.get(index).map(|n| n.handle).unwrap_or_default())
    }

    fn launch_of(&mut self, context: Handle, params: &KernelParams, kernel: Handle) -> Result<Work> {
        let function = if params.function == Handle::NONE { kernel } else { params.function };
        let KernelParams { grid, block, dynamic_shared, params, extra, .. } = *params;
        let request = Request { function, grid, block, dynamic_shared, params, extra };
        Ok(Work::Launch(self.prepare(context, &request)?))
    }

    fn params_of(&mut self, node: Handle) -> Result<KernelParams> {
        let Work::Launch(launch) = self.work_of(node)? else { return Err(Status::INVALID_VALUE) };
        Ok(KernelParams {
            function: launch.function,
            grid: launch.config.grid,
            block: launch.config.block,
            dynamic_shared: launch.config.dynamic_shared,
            params: In::at_address(launch.pointers()),
            extra: In::at_address(0),
        })
    }

    /// Pairs of nodes of which the second depends on the first.
    fn edges(&mut self, graph: Handle) -> Result<Vec<(Handle, Handle)>> {
        let nodes = &self.graph(graph)?.nodes;
        let edges = |node: &super::graph::Node| {
            let to = node.handle;
            let from = node.waits.iter().filter_map(|i| nodes.get(*i)).map(|n| n.handle);
            from.map(|from| (from, to)).collect::<Vec<_>>()
        };
        Ok(nodes.iter().flat_map(edges).collect())
    }
}

/// Gives a list as the API does: how many there are, or as many as there is room for.
fn give(list: Vec<Handle>, out: Out<Handle>, count: Out<usize>) -> Result<()> {
    if out.is_null() {
        return count.put(list.len());
    }
    let room = count.get()?;
    count.put(list.len().min(room))?;
    let rest = room.saturating_sub(list.len());
    out.put_list(list.into_iter().chain(std::iter::repeat_n(Handle::NONE, rest)), room);
    Ok(())
}

fn give_edges(
    edges: Vec<(Handle, Handle)>,
    from: Out<Handle>,
    to: Out<Handle>,
    count: Out<usize>,
) -> Result<()> {
    let (starts, ends): (Vec<_>, Vec<_>) = edges.into_iter().unzip();
    if from.is_null() != to.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    let room = if from.is_null() { 0 } else { count.get()? };
    give(starts, from, count)?;
    if !to.is_null() {
        count.put(room)?;
    }
    give(ends, to, count)
}

api! {
    /// The nodes of a graph.
    fn cuGraphGetNodes(s; graph: Handle, nodes: Out<Handle>, count: Out<usize>) {
        let list = s.graph(graph)?.nodes.iter().map(|n| n.handle).collect();
        give(list, nodes, count)
    }

    /// The nodes of a graph that depend on none.
    fn cuGraphGetRootNodes(s; graph: Handle, nodes: Out<Handle>, count: Out<usize>) {
        let roots = s.graph(graph)?.nodes.iter().filter(|n| n.waits.is_empty()).map(|n| n.handle).collect();
        give(roots, nodes, count)
    }

    /// The dependencies in a graph.
    fn cuGraphGetEdges(s; graph: Handle, from: Out<Handle>, to: Out<Handle>, count: Out<usize>) {
        let edges = s.edges(graph)?;
        give_edges(edges, from, to, count)
    }

    /// The dependencies in a graph. They carry no data.
    fn cuGraphGetEdges_v2(
        s;
        graph: Handle,
        from: Out<Handle>,
        to: Out<Handle>,
        data: Out<[u8; 8]>,
        count: Out<usize>,
    ) {
        let edges = s.edges(graph)?;
        if !data.is_null() {
            data.put_list(std::iter::repeat_n([0; 8], edges.len()), count.get()?);
        }
        give_edges(edges, from, to, count)
    }

    /// What a node depends on.
    fn cuGraphNodeGetDependencies(s; node: Handle, dependencies: Out<Handle>, count: Out<usize>) {
        let (graph, _) = s.node(node)?;
        let edges = s.edges(graph)?;
        let list = edges.into_iter().filter(|(_, to)| *to == node).map(|(from, _)| from).collect();
        give(list, dependencies, count)
    }

    /// What depends on a node.
    fn cuGraphNodeGetDependentNodes(s; node: Handle, dependents: Out<Handle>, count: Out<usize>) {
        let (graph, _) = s.node(node)?;
        let edges = s.edges(graph)?;
        let list = edges.into_iter().filter(|(from, _)| *from == node).map(|(_, to)| to).collect();
        give(list, dependents, count)
    }

    /// What a node does (`CUgraphNodeType`).
    fn cuGraphNodeGetType(s; node: Handle, kind: Out<i32>) {
        let found = s.work_of(node)?.node_type();
        kind.put(found)
    }

    /// Adds a node that does nothing.
    fn cuGraphAddEmptyNode(s; node: Out<Handle>, graph: Handle, dependencies: In<Handle>, count: usize) {
        s.add(node, graph, dependencies, count, Work::Nothing)
    }

    /// Adds a launch.
    fn cuGraphAddKernelNode(
        s, c;
        node: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        params: In<KernelParams>,
    ) {
        let work = s.launch_of(c, &params.get()?, Handle::NONE)?;
        s.add(node, graph, dependencies, count, work)
    }

    /// Adds a launch.
    fn cuGraphAddKernelNode_v2(
        s, c;
        node: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        params: In<KernelParams2>,
    ) {
        let params = params.get()?;
        let work = s.launch_of(c, &params.base, params.kernel)?;
        s.add(node, graph, dependencies, count, work)
    }

    /// Adds a fill.
    fn cuGraphAddMemsetNode(
        s, c;
        node: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        params: In<FillParams>,
        context: Handle,
    ) {
        let _ = (c, context);
        let FillParams { at, pitch, value, size, width, height } = params.get()?;
        if !matches!(size, 1 | 2 | 4) {
            return Err(Status::INVALID_VALUE);
        }
        let fill = Fill { at, pitch, value, size: size as usize, width, height };
        s.check_fill(&fill)?.ok_or(Status::INVALID_VALUE)?;
        s.add(node, graph, dependencies, count, Work::Fill(fill))
    }

    /// Adds a copy.
    fn cuGraphAddMemcpyNode(
        s, c;
        node: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        params: In<Copy3D>,
        context: Handle,
    ) {
        let _ = (c, context);
        let copy = s.shaped_copy(&params.get()?)?.ok_or(Status::INVALID_VALUE)?;
        s.add(node, graph, dependencies, count, Work::Copy(Arc::new(copy)))
    }

    /// Adds a host function.
    fn cuGraphAddHostNode(
        s;
        node: Out<Handle>,
        graph: Handle,
        dependencies: In<Handle>,
        count: usize,
        params: In<HostParams>,
    ) {
        let HostParams { function, data } = params.get()?;
        let work = Work::Host(function.ok_or(Status::INVALID_VALUE)?, data.addr());
        s.add(node, graph, dependencies, count, work)
    }

    /// Function, shape and parameters of a launch. The pointers are good as long as the node.
    fn cuGraphKernelNodeGetParams(s; node: Handle, params: Out<KernelParams>) {
        params.put(s.params_of(node)?)
    }

    /// Function, shape and parameters of a launch. The pointers are good as long as the node.
    fn cuGraphKernelNodeGetParams_v2(s; node: Handle, params: Out<KernelParams2>) {
        let base = s.params_of(node)?;
        let context = s.function(base.function)?.context;
        params.put(KernelParams2 { base, kernel: Handle::NONE, context })
    }

    /// Replaces a launch. What was instantiated from the graph before stays as it was.
    fn cuGraphKernelNodeSetParams_v2(s, c; node: Handle, params: In<KernelParams2>) {
        let params = params.get()?;
        if !matches!(s.work_of(node)?, Work::Launch(_)) {
            return Err(Status::INVALID_VALUE);
        }
        let work = s.launch_of(c, &params.base, params.kernel)?;
        *s.work_of(node)? = work;
        Ok(())
    }
}
