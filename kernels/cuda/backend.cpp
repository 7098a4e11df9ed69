// The CUDA backend behind the contract of kernels/backend.hpp. Every call is first prepared, then enqueued in
// the rank's stream or kept by a recording, which becomes one graph once all its calls are prepared. So
// nothing is compiled, allocated or agreed upon while a stream captures.
//
// Calls return before the device has done them. What goes wrong on the device is told by `synchronize`, by a
// copy to the host, by an exchange, or by the first call after it was noticed (monitor.hpp).
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/env.hpp"
#include "core/thread.hpp"
#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/compute/kernel.hpp"
#include "kernels/cuda/describe.hpp"
#include "kernels/cuda/mark.hpp"
#include "kernels/cuda/matmul/matmul.hpp"
#include "kernels/cuda/memory/memory.hpp"
#include "kernels/cuda/symmetric/symmetric_memory.hpp"
#include "kernels/job_backend.hpp"
#include "kernels/plugin/plugin_entry.hpp"

namespace peri::kernels::cuda {
namespace {

// From an operand's first byte to its last.
std::span<const std::byte> memory_of(const Operand& operand) {
  int64_t first = 0, last = 0;
  for (int i = 0; i < operand.type.view.shape.rank(); ++i) {
    if (operand.type.view.shape[i] == 0) return {};
    const int64_t reach = (operand.type.view.shape[i] - 1) * operand.type.view.strides[i];
    (reach < 0 ? first : last) += reach;
  }
  const int64_t size = size_of(operand.type.dtype);
  return {operand.data + first * size, static_cast<size_t>((last - first + 1) * size)};
}

bool overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

class KernelCall final : public StreamCall {
 public:
  KernelCall(std::shared_ptr<const Kernel> kernel, cudaStream_t stream, std::span<const Operand> inputs,
             std::span<const Operand> outputs)
      : kernel_(std::move(kernel)),
        stream_(stream),
        inputs_(addresses_of(inputs)),
        outputs_(addresses_of(outputs)) {
    if (const int early = kernel_->early_operand(); early >= 0)
      early_ = memory_of(inputs[static_cast<size_t>(early)]);
    for (const Operand& output : outputs) written_.push_back(memory_of(output));
  }
  Status enqueue() override {
    return begins_early_ ? kernel_->launch_early(stream_, inputs_, outputs_)
                         : kernel_->launch(stream_, inputs_, outputs_);
  }
  bool can_begin_early() const override { return kernel_->is_programmatic(); }
  std::span<const std::byte> early_operand() const override { return early_; }
  bool may_write(std::span<const std::byte> memory) const override {
    return std::ranges::any_of(written_, [&](const auto& written) { return overlap(written, memory); });
  }
  bool let_next_begin() override { return kernel_->is_programmatic(); }
  void begin_early() override { begins_early_ = true; }

 private:
  std::shared_ptr<const Kernel> kernel_;  // kernels are shared by all calls of the same types
  cudaStream_t stream_;
  std::vector<std::byte*> inputs_, outputs_;
  std::span<const std::byte> early_;
  std::vector<std::span<const std::byte>> written_;
  bool begins_early_ = false;
};

// A copy of contiguous bytes, by the copy engine.
class MemoryCopy final : public StreamCall {
 public:
  MemoryCopy(std::byte* to, const std::byte* from, int64_t bytes, cudaStream_t stream)
      : to_(to), from_(from), bytes_(static_cast<size_t>(bytes)), stream_(stream) {}
  Status enqueue() override {
    if (bytes_ == 0 || to_ == from_) return {};
    return check(cudaMemcpyAsync(to_, from_, bytes_, cudaMemcpyDefault, stream_), "copy");
  }

 private:
  std::byte* to_;
  const std::byte* from_;
  size_t bytes_;
  cudaStream_t stream_;
};

class CudaRecording final : public PreparedRecording<StreamCall> {
 public:
  CudaRecording(PreparedSteps<StreamCall> prepared, size_t steps, std::shared_ptr<Device> device,
                uint32_t generation)
      : PreparedRecording(std::move(prepared), steps, generation), device_(std::move(device)) {
    for (const auto& call : calls()) {
      if (!operation_) operation_ = call->operation();
      if (!nccl_work_) nccl_work_ = call->nccl_work();
    }
  }
  // A graph that is being replayed must stay until the stream has passed it.
  ~CudaRecording() override {
    device_->retire([graph = graph_] {
      if (graph) cudaGraphExecDestroy(graph);
    });
  }
  void move(std::span<std::byte* const>) override { PERI_CHECK(false, "a graph's addresses are fixed"); }
  // Its first collective, which stands for it when peers ask what this rank is doing.
  const job::Operation* operation() const { return operation_; }
  const std::shared_ptr<const NcclWork>& nccl_work() const { return nccl_work_; }

  Status instantiate() {
    begin_early();
    cudaStream_t stream = device_->stream();
    // Relaxed: what other threads ask of CUDA meanwhile does not matter to this capture.
    PERI_TRY(check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "begin_capture"));
    Status enqueued;
    for (const auto& call : calls())
      if (enqueued) enqueued = call->enqueue();
    cudaGraph_t graph = nullptr;
    Status ended = check(cudaStreamEndCapture(stream, &graph), "end_capture");
    Status made = !enqueued ? enqueued : ended;
    if (made) made = check(cudaGraphInstantiate(&graph_, graph, 0), "end_capture");
    if (graph) cudaGraphDestroy(graph);
    return made;
  }
  Status launch() const { return check(cudaGraphLaunch(graph_, device_->stream()), "replay"); }

 private:
  // Which calls begin before the one before has ended. Each waits for that one, which has waited for those
  // before it; but what a call reads before it waits may be written by any since the last that began when all
  // had ended.
  void begin_early() {
    size_t last_full_wait = 0;
    for (size_t i = 1; i < calls().size(); ++i) {
      StreamCall& call = *calls()[i];
      const auto early = call.early_operand();
      bool can = call.can_begin_early();
      for (size_t before = last_full_wait; can && !early.empty() && before < i; ++before)
        can = !calls()[before]->may_write(early);
      if (can && calls()[i - 1]->let_next_begin())
        call.begin_early();
      else
        last_full_wait = i;
    }
  }

  std::shared_ptr<Device> device_;
  const job::Operation* operation_ = nullptr;
  std::shared_ptr<const NcclWork> nccl_work_;  // of its first call of NCCL, shared with what is issued
  cudaGraphExec_t graph_ = nullptr;
};

class CudaBackend final : public JobBackend {
 public:
  CudaBackend(std::unique_ptr<job::Control> control, const std::shared_ptr<Device>& device,
              std::unique_ptr<Monitor> monitor, Peers peers, std::jthread loading)
      : JobBackend(std::move(control), make_allocator(device)),
        device_(device),
        monitor_(std::move(monitor)),
        clock_(device),
        loading_(std::move(loading)),
        communicator_(this->control(), blocks(), *monitor_, device, std::move(peers)) {
    this->control().set_pending_work(
        [device] { return cudaStreamQuery(device->stream()) == cudaErrorNotReady; });
  }
  ~CudaBackend() override { leave(); }

  std::string name() const override { return "cuda"; }
  std::string device_name() const override { return fmt::format("GPU {}", device_->index()); }
  const Topology& topology() const override { return communicator_.peers().topology(); }

  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    PERI_TRY(check_usable());
    return issue(PERI_TRY(prepare_launch(spec, inputs, outputs)));
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    PERI_TRY(check_usable());
    if (!spec.epilogue.empty()) return run_with_epilogue(*this, spec, inputs, outputs);
    return issue(PERI_TRY(prepare_collective(communicator_, spec, inputs, outputs, true)));
  }

  Status copy(const Operand& from, const Operand& to) override {
    PERI_TRY(check_usable());
    PERI_TRY(issue(PERI_TRY(prepare_copy(from, to))));
    const bool to_host = place_of(to.data) == Place::host && place_of(from.data) == Place::device;
    return to_host ? synchronize() : Status{};
  }

  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) override {
    PERI_TRY(check_usable());
    using Prepared = Result<std::unique_ptr<StreamCall>>;
    auto prepared = PERI_TRY(prepare_steps<StreamCall>(
        steps, marks,
        Overloaded{
            [&](const KernelStep& s) -> Prepared { return prepare_launch(s.spec, s.inputs, s.outputs); },
            [&](const CollectiveStep& s) -> Prepared {
              return prepare_collective(communicator_, s.spec, s.inputs, s.outputs, false);
            },
            [&](const CopyStep& s) -> Prepared {
              PERI_TRY(check_recordable_copy(place_of(s.from.data), place_of(s.to.data)));
              return prepare_copy(s.from, s.to);
            }},
        [&] { return prepare_mark(true); }));
    auto recording =
        std::make_unique<CudaRecording>(std::move(prepared), steps.size(), device_, generation());
    PERI_TRY(recording->instantiate());
    return recording;
  }

  Status replay(const Recording& recording) override {
    PERI_TRY(check_usable());
    const CudaRecording* ours = PERI_TRY(check_recording<CudaRecording>(recording));
    if (ours->operation()) {
      PERI_TRY(monitor_->can_communicate(*ours->operation()));
      control().enter(*ours->operation());
    }
    return communicator_.issue(ours->nccl_work(), [&] { return ours->launch(); });
  }

  bool follows_blocks() const override { return false; }

  Status synchronize() override { return monitor_->synchronize(); }

  Result<std::unique_ptr<Mark>> mark() override {
    auto [mark, call] = PERI_TRY(prepare_mark(false));
    PERI_TRY(issue(std::move(call)));
    return std::move(mark);
  }

  std::vector<std::optional<int64_t>> times(std::span<const Mark* const> marks) override {
    std::vector<std::optional<int64_t>> result;
    for (const Mark* mark : marks) {
      auto* ours = dynamic_cast<const CudaMark*>(mark);
      result.push_back(ours ? clock_.time(ours->event()) : std::nullopt);
    }
    clock_.keep_set();
    return result;
  }

  void leave() override {
    if (control().has_left()) return;
    if (loading_.joinable()) loading_.join();
    static_cast<void>(device_->finish());  // what peers still wait for is on its way
    communicator_.close();
    monitor_->stop();
    control().leave();
  }

 private:
  Status check_usable() const override {
    PERI_TRY(JobBackend::check_usable());
    return monitor_->has_failure() ? monitor_->synchronize() : Status{};
  }
  Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(Bytes bytes, const Group& group,
                                                                 const job::Operation& operation) override {
    PERI_TRY(communicator_.peers().check_memory(group, operation));
    GroupContext* context = PERI_TRY(communicator_.context(group));
    auto made = cuda::make_symmetric_memory(*context, bytes, operation);
    if (made || made.error().code != Code::OutOfMemory) return made;
    allocator().free_cached();  // all members are told of it alike, and try again
    return cuda::make_symmetric_memory(*context, bytes, operation);
  }
  Status begin_generation() override { return communicator_.recover(); }

  Result<std::unique_ptr<StreamCall>> prepare_launch(const KernelSpec& spec, std::span<const Operand> inputs,
                                                     std::span<const Operand> outputs) {
    auto kernel = PERI_TRY(compile_kernel(spec, types_of(inputs), types_of(outputs)));
    return std::make_unique<KernelCall>(std::move(kernel), device_->stream(), inputs, outputs);
  }

  Result<std::unique_ptr<StreamCall>> prepare_copy(const Operand& from, const Operand& to) {
    const bool whole = from.type.dtype == to.type.dtype && from.type.view.is_contiguous() &&
                       to.type.view.is_contiguous() &&
                       numel(from.type.view.shape) == numel(to.type.view.shape);
    // The GPU reads and writes pinned memory of the host, too.
    if (!whole) return prepare_launch(KernelSpec{.op = Op::contiguous}, {&from, 1}, {&to, 1});
    const int64_t bytes = numel(from.type.view.shape) * size_of(from.type.dtype);
    return std::make_unique<MemoryCopy>(to.data, from.data, bytes, device_->stream());
  }

  // `captured`: a graph will pass it.
  Result<PreparedMark<StreamCall>> prepare_mark(bool captured) {
    if (!clock_.is_set()) {
      PERI_TRY(monitor_->synchronize());
      PERI_TRY(clock_.set());
    }
    auto event = PERI_TRY(Event::create(device_, captured));
    auto call = std::make_unique<RecordEvent>(event, device_->stream());
    return PreparedMark<StreamCall>{std::make_unique<CudaMark>(std::move(event)), std::move(call)};
  }

  Status issue(std::unique_ptr<StreamCall> call) {
    return communicator_.issue(call->nccl_work(), [&] { return call->enqueue(); });
  }

  std::shared_ptr<Device> device_;  // shared with storages and recordings, which may outlive the backend
  std::unique_ptr<Monitor> monitor_;
  EventClock clock_;
  std::jthread loading_;  // what the first product would wait for
  Communicator communicator_;
};

Result<std::unique_ptr<Backend>> create(const JobOptions& options) {
  keep_nccl_off_multicast();
  auto device = PERI_TRY(Device::open(options.local_rank.value_or(options.rank), options.may_spin));
  std::jthread loading = PERI_TRY(start_thread([gpu = device->index()] { load_matmul_library(gpu); }));
  auto control = PERI_TRY(job::Control::join(options));
  auto monitor = PERI_TRY(Monitor::start(*control, device));
  Peers peers = PERI_TRY(Peers::meet(*control, *device));
  return std::make_unique<CudaBackend>(std::move(control), device, std::move(monitor), std::move(peers),
                                       std::move(loading));
}

}  // namespace
}  // namespace peri::kernels::cuda

extern "C" {

void peri_cuda_create(const peri::kernels::JobOptions* options,
                      peri::Result<std::unique_ptr<peri::kernels::Backend>>* backend) {
  *backend = peri::kernels::cuda::create(*options);
}

void peri_cuda_count(peri::Result<int>* count) {
  *count = peri::kernels::cuda::device_count();
}

void peri_cuda_describe(peri::Result<peri::kernels::CudaReport>* report) {
  *report = peri::kernels::cuda::describe();
}

}  // extern "C"
