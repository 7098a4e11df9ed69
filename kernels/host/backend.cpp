// The host backend: memory, kernels and collectives behind the contract of kernels/backend.hpp. Every call is
// first prepared, then run at once or kept by a recording; so eager calls and replays go the same way.
#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/compute/kernel.hpp"
#include "kernels/host/memory.hpp"
#include "kernels/job_backend.hpp"

namespace peri::kernels::host {
namespace {

class KernelCall final : public HostCall {
 public:
  KernelCall(std::shared_ptr<const Kernel> kernel, std::span<const Operand> inputs,
             std::span<const Operand> outputs)
      : kernel_(std::move(kernel)), inputs_(addresses_of(inputs)), outputs_(addresses_of(outputs)) {}
  Status run() override {
    kernel_->run(inputs_, outputs_);
    return {};
  }
  void move_operand(size_t operand, std::byte* data) override {
    (operand < inputs_.size() ? inputs_[operand] : outputs_[operand - inputs_.size()]) = data;
  }

 private:
  std::shared_ptr<const Kernel> kernel_;  // kernels are shared by all calls of the same types
  std::vector<std::byte*> inputs_, outputs_;
};

using Time = std::optional<int64_t>;  // on host_clock

class HostMark final : public Mark {
 public:
  explicit HostMark(std::shared_ptr<const Time> passed) : passed_(std::move(passed)) {}
  Time passed() const { return *passed_; }

 private:
  std::shared_ptr<const Time> passed_;  // shared with the call, either of which may be gone first
};

class MarkCall final : public HostCall {
 public:
  explicit MarkCall(std::shared_ptr<Time> passed) : passed_(std::move(passed)) {}
  Status run() override {
    *passed_ = host_clock();
    return {};
  }
  void move_operand(size_t, std::byte*) override {}

 private:
  std::shared_ptr<Time> passed_;
};

// The operands of calls that lie in blocks which may move, by block.
class Followers {
 public:
  void add(HostCall& call, std::span<const Operand> inputs, std::span<const Operand> outputs) {
    for (size_t i = 0; i < inputs.size(); ++i) add(call, i, inputs[i]);
    for (size_t i = 0; i < outputs.size(); ++i) add(call, inputs.size() + i, outputs[i]);
  }
  void move(std::span<std::byte* const> blocks) {
    for (size_t b = 0; b < blocks_.size(); ++b) {
      if (blocks_[b].data == blocks[b]) continue;
      blocks_[b].data = blocks[b];
      for (const Follower& f : blocks_[b].followers) f.call->move_operand(f.operand, blocks[b] + f.offset);
    }
  }

 private:
  struct Follower {
    HostCall* call;
    size_t operand;
    Bytes offset;
  };
  struct Block {
    std::byte* data = nullptr;
    std::vector<Follower> followers;
  };
  void add(HostCall& call, size_t number, const Operand& operand) {
    if (operand.block < 0) return;
    const size_t block = operand.block;
    if (block >= blocks_.size()) blocks_.resize(block + 1);
    blocks_[block].data = operand.data - operand.block_offset.count();
    blocks_[block].followers.push_back({&call, number, operand.block_offset});
  }

  std::vector<Block> blocks_;
};

class HostRecording final : public PreparedRecording<HostCall> {
 public:
  HostRecording(PreparedSteps<HostCall> prepared, Followers followers, size_t steps, uint32_t generation)
      : PreparedRecording(std::move(prepared), steps, generation), followers_(std::move(followers)) {}
  void move(std::span<std::byte* const> blocks) override { followers_.move(blocks); }

 private:
  Followers followers_;
};

Result<std::unique_ptr<HostCall>> prepare_launch(const KernelSpec& spec, std::span<const Operand> inputs,
                                                 std::span<const Operand> outputs) {
  auto kernel = PERI_TRY(compile_kernel(spec, types_of(inputs), types_of(outputs)));
  return std::make_unique<KernelCall>(std::move(kernel), inputs, outputs);
}

Result<std::unique_ptr<HostCall>> prepare_copy(const Operand& from, const Operand& to) {
  return prepare_launch(KernelSpec{.op = Op::contiguous}, {&from, 1}, {&to, 1});
}

Result<PreparedMark<HostCall>> prepare_mark() {
  auto passed = std::make_shared<Time>();
  auto call = std::make_unique<MarkCall>(passed);
  return PreparedMark<HostCall>{std::make_unique<HostMark>(std::move(passed)), std::move(call)};
}

class HostBackend final : public JobBackend {
 public:
  HostBackend(std::unique_ptr<job::Control> control, std::shared_ptr<CachingAllocator> allocator)
      : JobBackend(std::move(control), std::move(allocator)), communicator_(this->control(), blocks()) {}
  ~HostBackend() override { leave(); }

  std::string name() const override { return "host"; }
  std::string device_name() const override { return "host"; }
  const Topology& topology() const override { return topology_; }

  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    return PERI_TRY(prepare_launch(spec, inputs, outputs))->run();
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    PERI_TRY(check_usable());
    if (!spec.epilogue.empty()) return run_with_epilogue(*this, spec, inputs, outputs);
    return PERI_TRY(prepare_collective(communicator_, spec, inputs, outputs))->run();
  }

  Status copy(const Operand& from, const Operand& to) override {
    return PERI_TRY(prepare_copy(from, to))->run();
  }

  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) override {
    PERI_TRY(check_usable());
    using Prepared = Result<std::unique_ptr<HostCall>>;
    Followers followers;
    const auto following = [&](Prepared call, std::span<const Operand> inputs,
                               std::span<const Operand> outputs) {
      if (call) followers.add(**call, inputs, outputs);
      return call;
    };
    auto prepared = PERI_TRY(prepare_steps<HostCall>(
        steps, marks,
        Overloaded{[&](const KernelStep& s) -> Prepared {
                     return following(prepare_launch(s.spec, s.inputs, s.outputs), s.inputs, s.outputs);
                   },
                   [&](const CollectiveStep& s) -> Prepared {
                     return following(prepare_collective(communicator_, s.spec, s.inputs, s.outputs),
                                      s.inputs, s.outputs);
                   },
                   [&](const CopyStep& s) -> Prepared {
                     PERI_TRY(check_recordable_copy(place_of(s.from.data), place_of(s.to.data)));
                     return following(prepare_copy(s.from, s.to), {&s.from, 1}, {&s.to, 1});
                   }},
        prepare_mark));
    return std::make_unique<HostRecording>(std::move(prepared), std::move(followers), steps.size(),
                                           generation());
  }

  Status replay(const Recording& recording) override {
    PERI_TRY(check_usable());
    const HostRecording* ours = PERI_TRY(check_recording<HostRecording>(recording));
    for (const auto& call : ours->calls()) PERI_TRY(call->run());
    return {};
  }

  bool follows_blocks() const override { return true; }

  Status synchronize() override { return {}; }  // every call has completed when it returns

  Result<std::unique_ptr<Mark>> mark() override {
    auto [mark, call] = PERI_TRY(prepare_mark());
    PERI_TRY(call->run());
    return std::move(mark);
  }

  std::vector<Time> times(std::span<const Mark* const> marks) override {
    std::vector<Time> result;
    for (const Mark* mark : marks) {
      auto* ours = dynamic_cast<const HostMark*>(mark);
      result.push_back(ours ? ours->passed() : std::nullopt);
    }
    return result;
  }

  void leave() override { control().leave(); }

 private:
  Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(Bytes bytes, const Group& group,
                                                                 const job::Operation& operation) override {
    return host::make_symmetric_memory(*PERI_TRY(communicator_.context(group)), bytes, operation);
  }
  Status begin_generation() override { return communicator_.recover(); }

  Communicator communicator_;
  Topology topology_;  // one host
};

}  // namespace
}  // namespace peri::kernels::host

namespace peri::kernels {

Result<std::unique_ptr<Backend>> create_host_backend(const JobOptions& options) {
  host::set_thread_count(options.threads);
  auto control = PERI_TRY(job::Control::join(options));
  auto allocator = host::make_allocator(control->ledger());
  return std::make_unique<host::HostBackend>(std::move(control), std::move(allocator));
}

}  // namespace peri::kernels
