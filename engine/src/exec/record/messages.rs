//! Collectives, and messages between stages.

use super::{Letter, Recorder};
use crate::cluster::{Group, RankId};
use crate::exec::Slice;
use crate::exec::collectives::{Member, Ring, copy};
use crate::graph::{Collective, Direction, Op, Task, TensorId, Transfer};
use crate::trace::MemoryCategory;
use crate::units::Bytes;

impl Recorder<'_> {
    /// The last member to arrive records the ring; the others find it done when they are visited again.
    pub(super) fn collective(
        &mut self,
        rank: RankId,
        task: Task,
        op: &Op,
        collective: Collective,
        group: Group,
    ) -> bool {
        let members = self.step.mesh.members(group, rank);
        let number = self.state(rank).met[group as usize];
        let arrived = self.waiting.entry((group, members[0], number)).or_default();
        arrived.insert(rank);
        if arrived.len() < members.len() {
            return false;
        }
        if self.ranks[rank.0 as usize].met[group as usize] == number
            && members.iter().all(|&m| self.met(m, group) == number)
        {
            self.ring(&members, task, op, collective, group);
        }
        self.state(rank).met[group as usize] += 1;
        true
    }

    fn met(&self, rank: RankId, group: Group) -> usize {
        self.ranks[rank.0 as usize].met[group as usize]
    }

    fn ring(&mut self, members: &[RankId], task: Task, op: &Op, collective: Collective, group: Group) {
        let taking_part: Vec<Member> = members.iter().map(|&member| self.member(member, task, op)).collect();
        let blocks = self.step.runs(op);
        let mut ring = Ring::new(&taking_part, &mut self.recording.dispatches).dealt(blocks);
        match (group, collective) {
            (Group::Context, Collective::AllToAll) => {
                let local = |id: TensorId| self.step.tensor(id).local;
                ring.exchange_heads(local(op.reads[0]), local(op.writes[0]));
            }
            _ => ring.run(collective),
        }
        let sent = ring.sent;
        let scope = self.recording.scopes.len();
        self.close_scope(members[0], Some(group), task, op);
        let is_outer = self.outer.contains(&scope);
        for ((from, to), bytes) in sent {
            self.count(group.axis(), [members[from], members[to]], bytes, is_outer);
        }
    }

    /// A member's buffers. Members on other stages (tied embeddings, the norm) run the op under other handles.
    fn member(&self, member: RankId, task: Task, op: &Op) -> Member {
        let state = &self.ranks[member.0 as usize];
        let stage = &self.step.stages[state.stage];
        let own = stage.tasks.get(state.task).and_then(|&t| stage.segment(t).graph.raw_nodes().get(state.op));
        let (op, task) = own.map_or((op, task), |node| (&node.weight, stage.tasks[state.task]));
        Member {
            input: self.slice(member, task, op.reads[0]),
            output: self.slice(member, task, op.writes[0]),
            scratch: op.writes.get(1).map(|&id| self.slice(member, task, id)),
        }
    }

    pub(super) fn send(&mut self, rank: RankId, task: Task, op: &Op, transfer: Transfer) {
        let from = self.slice(rank, task, op.reads[0]);
        let mesh = self.step.mesh;
        let steps = if transfer.direction == Direction::Next { 1 } else { mesh.pp - 1 };
        let to = (rank.0 + mesh.per_stage() * steps) % mesh.ranks();
        let (place, backend) = (self.place(RankId(to)), &mut *self.backend);
        let bytes = Bytes(from.size).align_up(crate::graph::ALLOCATION_ALIGNMENT);
        let wire = &mut self.wire[place as usize];
        let buffer = wire.allocate(bytes, MemoryCategory::Buffers, |n| backend.create_at(place, n.0));
        self.transfer(from, Slice { buffer, offset: 0, ..from });
        self.count("pp", [rank, RankId(to)], from.size, false);
        let letter = Letter { buffer, sent: self.recording.scopes.len() };
        self.ranks[to as usize].inbox.insert((transfer.number, task.micro_batch), letter);
        self.close_scope(rank, None, task, op);
    }

    pub(super) fn receive(&mut self, rank: RankId, task: Task, op: &Op, transfer: Transfer) -> bool {
        let message = (transfer.number, task.micro_batch);
        let Some(Letter { buffer, sent }) = self.state(rank).inbox.remove(&message) else { return false };
        self.flows.push((sent, self.recording.scopes.len()));
        let to = self.slice(rank, task, op.writes[0]);
        self.transfer(Slice { buffer, offset: 0, ..to }, to);
        let place = self.place(rank) as usize;
        self.wire[place].free(buffer);
        self.close_scope(rank, None, task, op);
        true
    }

    /// Counts bytes that a rank sends to another; those of outer steps apart, too.
    fn count(&mut self, axis: &'static str, [from, to]: [RankId; 2], bytes: u64, is_outer: bool) {
        let sent = self.sent.entry((axis, from, to)).or_default();
        sent[0] += bytes;
        sent[1] += if is_outer { bytes } else { 0 };
    }

    fn transfer(&mut self, from: Slice, to: Slice) {
        self.recording.dispatches.push(copy(from, 0, to, 0, from.elements()));
    }
}
