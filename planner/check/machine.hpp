// The memory of a plan as check_plan runs it: who owns which bytes, which value lies in them, and which of
// them peers may still be reading. Shares no code with the passes.
#pragma once

#include <string_view>

#include "planner/check/bytes.hpp"

namespace peri::planner::check {

// What is wrong with the plan's tables (names, sizes, pools, groups, numbers of inputs, ids in lines), which
// everything else takes for granted; empty if nothing is.
std::string wrong_tables(const Plan& plan);
// What is wrong with a group; empty if it is one of ranks of the world, each once.
std::string wrong_group(const Group& group, const World& world);

class Machine {
 public:
  // Requires right tables. Inputs and constants lie in their pools.
  explicit Machine(const Plan& plan);

  // The first rule that was broken, with its line; empty if none was.
  const std::string& problem() const { return problem_; }

 protected:
  enum class Storage : uint8_t { none, owned, gone };
  struct State {
    Storage storage = Storage::none;
    int32_t version = -1;  // of the last value written; -1: none yet
    bool mutated = false;  // whether the plan says that it writes this input
    bool returned = false;
  };

  void expect(bool holds, std::string_view rule, BufferId id = {});

  const Buffer& buffer(BufferId id) const { return plan_.buffer(id); }
  State& state(BufferId id) { return states_[id]; }
  bool is_source(BufferId id) const;
  bool overlap(const PlanOperand& a, const PlanOperand& b) const;

  void give(BufferId id);
  void end(BufferId id);
  // The bytes hold nothing from here on.
  void spoil(const PlanOperand& o) { contents(o.buffer).clear(bytes(o)); }
  void spoil(BufferId id) { contents(id).clear(bytes(id)); }
  void read(const PlanOperand& o);
  void write(const PlanOperand& o);

  // Peers of the group may be reading it until all its members have come together again.
  void expose(const PlanOperand& o, const Group& group);
  void synchronise(const Group& group);
  bool exposes() const { return !exposed_.empty(); }

  const Plan& plan_;
  size_t line_ = 0;

 private:
  struct Exposed {
    PoolId pool;
    Interval bytes;
    const Group* group;
  };
  Interval bytes(BufferId id) const;
  Interval bytes(const PlanOperand& o) const;
  Contents& contents(BufferId id) { return contents_[buffer(id).pool]; }
  Contents& owners(BufferId id) { return owners_[buffer(id).pool]; }
  void expect_window(const PlanOperand& o);

  Store<BufferId, State> states_;
  Store<PoolId, Contents> owners_;    // whose the bytes are
  Store<PoolId, Contents> contents_;  // which value lies in them
  std::vector<Exposed> exposed_;
  std::string problem_;
};

}  // namespace peri::planner::check
