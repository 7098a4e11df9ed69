// The host backend: memory, kernels and collectives behind the contract of kernels/backend.hpp. Every call is
// first prepared, then run at once or kept by a recording; so eager calls and replays go the same way.
#include <fmt/format.h>

#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/compute/kernel.hpp"
#include "kernels/host/memory.hpp"
#include "kernels/prepare_steps.hpp"

namespace peri::kernels::host {
namespace {

class KernelCall final : public HostCall {
 public:
  KernelCall(std::shared_ptr<const Kernel> kernel, std::span<const Operand> inputs,
             std::span<const Operand> outputs)
      : kernel_(std::move(kernel)) {
    for (const Operand& operand : inputs) inputs_.push_back(operand.data);
    for (const Operand& operand : outputs) outputs_.push_back(operand.data);
  }
  Status run() override {
    kernel_->run(inputs_, outputs_);
    return {};
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

 private:
  std::shared_ptr<Time> passed_;
};

class HostRecording final : public Recording {
 public:
  HostRecording(PreparedSteps<HostCall> prepared, size_t steps, uint32_t generation)
      : prepared_(std::move(prepared)), steps_(static_cast<int>(steps)), generation_(generation) {}
  int step_count() const override { return steps_; }
  std::span<const std::unique_ptr<Mark>> marks() const override { return prepared_.marks; }
  std::span<const std::unique_ptr<HostCall>> calls() const { return prepared_.calls; }
  uint32_t generation() const { return generation_; }

 private:
  PreparedSteps<HostCall> prepared_;
  int steps_;
  uint32_t generation_;
};

Result<std::unique_ptr<HostCall>> prepare_launch(const KernelSpec& spec, std::span<const Operand> inputs,
                                                 std::span<const Operand> outputs) {
  std::vector<OperandType> input_types, output_types;
  for (const Operand& operand : inputs) input_types.push_back(operand.type);
  for (const Operand& operand : outputs) output_types.push_back(operand.type);
  return std::make_unique<KernelCall>(PERI_TRY(compile_kernel(spec, input_types, output_types)), inputs,
                                      outputs);
}

Result<std::unique_ptr<HostCall>> prepare_copy(const Operand& from, const Operand& to) {
  return prepare_launch(KernelSpec{.op = Op::contiguous}, {&from, 1}, {&to, 1});
}

Result<PreparedMark<HostCall>> prepare_mark() {
  auto passed = std::make_shared<Time>();
  auto call = std::make_unique<MarkCall>(passed);
  return PreparedMark<HostCall>{std::make_unique<HostMark>(std::move(passed)), std::move(call)};
}

class HostBackend final : public Backend {
 public:
  explicit HostBackend(std::unique_ptr<job::Control> joined)
      : communicator_(std::move(joined)), allocator_(std::make_shared<host::Allocator>(control().ledger())) {}
  ~HostBackend() override { leave(); }

  std::string name() const override { return "host"; }
  const JobOptions& job() const override { return control().options(); }
  std::string device_name() const override { return "host"; }
  const Topology& topology() const override { return topology_; }

  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) override {
    return allocator_->allocate(bytes, place);
  }

  Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) override {
    PERI_TRY(check_present());
    GroupContext* context = PERI_TRY(communicator_.context(group));
    job::Operation operation(
        fmt::format("allocate_symmetric of {} bytes over {}", bytes.count(), group.to_string()), {});
    control().enter(operation);
    return host::allocate_symmetric(*context, communicator_.blocks(), bytes, operation);
  }

  const Group* symmetric_group(const std::byte* address) const override {
    const SymmetricMemory* memory = communicator_.blocks()->find(address);
    return memory ? &memory->group() : nullptr;
  }

  SymmetricMemory* symmetric_memory(const Storage& storage) const override {
    return communicator_.blocks()->find(storage.data());
  }

  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    return PERI_TRY(prepare_launch(spec, inputs, outputs))->run();
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    PERI_TRY(check_present());
    return PERI_TRY(prepare_collective(communicator_, spec, inputs, outputs))->run();
  }

  Status copy(const Operand& from, const Operand& to) override {
    return PERI_TRY(prepare_copy(from, to))->run();
  }

  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) override {
    PERI_TRY(check_present());
    using Prepared = Result<std::unique_ptr<HostCall>>;
    auto prepared = PERI_TRY(prepare_steps<HostCall>(
        steps, marks,
        Overloaded{
            [](const KernelStep& s) -> Prepared { return prepare_launch(s.spec, s.inputs, s.outputs); },
            [&](const CollectiveStep& s) -> Prepared {
              return prepare_collective(communicator_, s.spec, s.inputs, s.outputs);
            },
            [&](const CopyStep& s) -> Prepared {
              PERI_TRY(check_recordable_copy(place_of(s.from.data), place_of(s.to.data)));
              return prepare_copy(s.from, s.to);
            }},
        prepare_mark));
    return std::make_unique<HostRecording>(std::move(prepared), steps.size(), generation());
  }

  Status replay(const Recording& recording) override {
    PERI_TRY(check_present());
    auto* ours = dynamic_cast<const HostRecording*>(&recording);
    if (!ours) return fail(Code::InvalidArgument, "the recording was made by another backend");
    if (ours->generation() != generation()) return fail(Code::InvalidArgument, kOutdatedRecording);
    for (const auto& call : ours->calls()) PERI_TRY(call->run());
    return {};
  }

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

  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override {
    PERI_TRY(check_present());
    PERI_TRY(communicator_.context(group));
    job::Operation operation(what, {});
    control().enter(operation);
    return control().exchange(group, text, operation);
  }

  std::atomic<bool>& interrupt_flag() override { return control().interrupt_flag(); }
  void abort(const Error& cause) override { control().abort(cause); }
  uint32_t generation() const override { return control().generation(); }
  Status recover() override {
    PERI_TRY(check_present());
    return communicator_.recover();
  }
  void leave() override { control().leave(); }

 private:
  job::Control& control() const { return communicator_.control(); }

  Status check_present() const {
    if (control().has_left()) return fail(Code::InvalidArgument, "this rank has left the job");
    return {};
  }

  Place place_of(const std::byte* address) const {
    return symmetric_group(address) ? Place::device : allocator_->place_of(address);
  }

  Communicator communicator_;
  std::shared_ptr<host::Allocator> allocator_;  // shared with the storages, which may outlive the backend
  Topology topology_;                           // one host
};

}  // namespace
}  // namespace peri::kernels::host

namespace peri::kernels {

Result<std::unique_ptr<Backend>> create_host_backend(const JobOptions& options) {
  host::set_thread_count(options.threads);
  return std::make_unique<host::HostBackend>(PERI_TRY(job::Control::join(options)));
}

}  // namespace peri::kernels
