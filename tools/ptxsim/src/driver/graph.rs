//! Graphs as wholes: making, instantiating and launching them (driver API, "Graph Management").

use std::collections::BTreeSet;
use std::ffi::c_char;

use super::api::{api, refuse};
use super::argument::Out;
use super::schedule::Op;
use super::state::{Handle, Locked, State, force};
use super::status::{Result, Status};
use super::work::Work;

/// A graph: nodes in an order in which each depends on earlier ones only.
#[derive(Clone, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

/// A node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) handle: Handle,
    pub(super) work: Work,
    /// Indices of the nodes that it depends on.
    pub(super) waits: Vec<usize>,
}

/// A graph that can be launched.
pub(super) struct Exec {
    pub(super) context: Handle,
    nodes: Vec<Node>,
    /// End of the last launch: launches of one graph run one after another.
    last: Option<Op>,
}

impl Graph {
    /// The nodes and all that they depend on.
    pub(super) fn ancestors(&self, nodes: &[usize]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = nodes.to_vec();
        while let Some(index) = open.pop() {
            if let Some(node) = self.nodes.get(index)
                && found.insert(index)
            {
                open.extend(&node.waits);
            }
        }
        found
    }
}

impl State {
    /// The graph behind a handle.
    pub(super) fn graph(&mut self, graph: Handle) -> Result<&mut Graph> {
        self.graphs
            .get_mut(&graph)
            .ok_or_else(|| refuse(Status::INVALID_VALUE, "there is no such graph (was it destroyed?)"))
    }

    /// Adds a node; gives its index.
    pub(super) fn add_node(&mut self, graph: Handle, work: Work, waits: Vec<usize>) -> Result<usize> {
        let handle = self.new_handle();
        let nodes = &mut self.graph(graph)?.nodes;
        let index = nodes.len();
        nodes.push(Node { handle, work, waits });
        self.nodes.insert(handle, (graph, index));
        Ok(index)
    }

    /// Forgets a graph and its nodes.
    pub(super) fn remove_graph(&mut self, graph: Handle) -> Option<Graph> {
        self.nodes.retain(|_, (of, _)| *of != graph);
        self.graphs.remove(&graph)
    }

    /// Fails if a node cannot run any more.
    fn check_nodes(&self, nodes: &[Node]) -> Result<()> {
        for node in nodes {
            if let Work::Launch(launch) = &node.work
                && !self.functions.contains_key(&launch.function)
            {
                let name = &launch.kernel.name;
                return Err(refuse(
                    Status::INVALID_HANDLE,
                    format_args!("the module of kernel {name}, a node of the graph, was unloaded"),
                ));
            }
        }
        Ok(())
    }
}

/// Makes a graph that can be launched. Launching from device code is not simulated.
fn instantiate(mut s: Locked, context: Handle, out: Out<Handle>, graph: Handle, flags: u64) -> Result<()> {
    // Automatic free (1), upload (2), node priorities (8).
    if flags & !0b1011 != 0 {
        return Err(refuse(Status::NOT_SUPPORTED, format_args!("instantiation flags {flags:#x}")));
    }
    if out.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    let nodes = s.graph(graph)?.nodes.clone();
    s.check_nodes(&nodes)?;
    let handle = s.new_handle();
    s.execs.insert(handle, Exec { context, nodes, last: None });
    out.put(handle)
}

/// Queues the nodes of a graph; in a capture they become nodes of the captured graph.
fn launch(mut s: Locked, context: Handle, exec: Handle, stream: Handle) -> Result<()> {
    let stream = s.resolve(context, stream)?;
    let found = s.execs.get(&exec).ok_or(Status::INVALID_HANDLE)?;
    let (nodes, last) = (found.nodes.clone(), found.last);
    s.check_nodes(&nodes)?;
    if let Some(member) = s.membership(stream)? {
        s.invalidate(member.capture);
        return Err(refuse(Status::NOT_SUPPORTED, "a graph launched in a capture (a child graph)"));
    }
    // The stream, then the nodes, then the stream again.
    let also: Vec<Op> = last.into_iter().collect();
    let Some(start) = s.submit_after(context, stream, Work::Nothing, &also)? else { return Ok(()) };
    let mut ops: Vec<Op> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let waits: Vec<Op> = node.waits.iter().filter_map(|i| ops.get(*i).copied()).chain([start]).collect();
        ops.push(s.enqueue(context, node.work, waits));
    }
    let end = s.submit_after(context, stream, Work::Nothing, &ops)?;
    if let Some(exec) = s.execs.get_mut(&exec) {
        exec.last = end;
    }
    Ok(())
}

api! {
    /// Makes an empty graph.
    fn cuGraphCreate(s; graph: Out<Handle>, flags: u32) {
        if flags != 0 || graph.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let handle = s.new_handle();
        s.graphs.insert(handle, Graph::default());
        graph.put(handle)
    }

    /// Destroys a graph; what was instantiated from it stays.
    fn cuGraphDestroy(s; graph: Handle) {
        s.graph(graph)?;
        s.remove_graph(graph);
        Ok(())
    }

    /// Copies a graph.
    fn cuGraphClone(s; clone: Out<Handle>, graph: Handle) {
        if clone.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let nodes = s.graph(graph)?.nodes.clone();
        let handle = s.new_handle();
        s.graphs.insert(handle, Graph::default());
        for node in nodes {
            s.add_node(handle, node.work, node.waits)?;
        }
        clone.put(handle)
    }

    /// Makes a graph launchable.
    fn cuGraphInstantiateWithFlags(s, c; exec: Out<Handle>, graph: Handle, flags: u64) {
        instantiate(s, c, exec, graph, flags)
    }

    /// Makes a graph launchable (the form of CUDA 11).
    fn cuGraphInstantiate_v2(
        s, c;
        exec: Out<Handle>,
        graph: Handle,
        error: Out<Handle>,
        log: Out<c_char>,
        size: usize,
    ) {
        error.put_if_wanted(Handle::NONE);
        if size > 0 && !log.is_null() {
            log.put_text("", size)?;
        }
        instantiate(s, c, exec, graph, 0)
    }

    /// Queues a graph on a stream.
    fn cuGraphLaunch(s, c; exec: Handle, stream: Handle) {
        launch(s, c, exec, stream)
    }

    /// Uploads a graph, which there is no need for.
    fn cuGraphUpload(s, c; exec: Handle, stream: Handle) {
        s.resolve(c, stream)?;
        if s.execs.contains_key(&exec) { Ok(()) } else { Err(Status::INVALID_HANDLE) }
    }

    /// Destroys a launchable graph; launches that are queued still run.
    fn cuGraphExecDestroy(s; exec: Handle) {
        s.execs.remove(&exec).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    /// Replaces the work of a launchable graph by that of a graph of the same shape.
    fn cuGraphExecUpdate_v2(s, c; exec: Handle, graph: Handle, result: Out<[usize; 3]>) {
        let new = s.graph(graph)?.nodes.clone();
        s.check_nodes(&new)?;
        let last = s.execs.get(&exec).ok_or(Status::INVALID_HANDLE)?.last;
        // Launches that are queued keep their work; those after get the new one.
        let mut s = force(s, last);
        s.check(c)?;
        let old = s.execs.get_mut(&exec).ok_or(Status::INVALID_HANDLE)?;
        let kind = std::mem::discriminant::<Work>;
        let same = |(a, b): (&Node, &Node)| a.waits == b.waits && kind(&a.work) == kind(&b.work);
        // CUgraphExecUpdateResultInfo: result (success, or topology changed), two nodes.
        if old.nodes.len() != new.len() || !old.nodes.iter().zip(&new).all(same) {
            result.put([2, 0, 0])?;
            return Err(Status::GRAPH_EXEC_UPDATE_FAILURE);
        }
        old.nodes = new;
        result.put([0, 0, 0])
    }
}
