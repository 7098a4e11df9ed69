// See nccl.hpp. Communicators do not block (ncclConfig_t::blocking), so that whatever this rank waits for
// inside of NCCL is polled here, with the deadline and the job's state. Aborting one ends its kernels at
// once, and then takes until all graphs that use it are gone, so it is left to a thread.
#include "kernels/cuda/nccl/nccl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "core/bytes.hpp"
#include "core/ops/families.hpp"
#include "core/thread.hpp"
#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/nccl/nccl_library.hpp"

namespace peri::kernels::cuda {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kMaxAbortWait{1000};
// Of kernels of ours that wait in the same stream: they know whom they wait for, and speak first.
constexpr std::chrono::milliseconds kGrace{100};
// Until what a peer did before it left is surely seen.
constexpr std::chrono::milliseconds kSettled{100};

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f16:
      return ncclFloat16;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u8:
    case DType::boolean:
      return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t reduction_of(Reduce reduce) {
  switch (reduce) {
    case Reduce::sum:
      return ncclSum;
    case Reduce::avg:
      return ncclAvg;
    case Reduce::min:
      return ncclMin;
    case Reduce::max:
      return ncclMax;
    case Reduce::prod:
      return ncclProd;
  }
  return ncclSum;
}

// Memory of the device for as long as the stream uses it.
class Scratch {
 public:
  static Result<Scratch> allocate(std::shared_ptr<Device> device, Bytes bytes) {
    void* data = nullptr;
    PERI_TRY(check(cudaMalloc(&data, bytes.count()), describe_bytes(bytes) + " for NCCL"));
    return Scratch(std::move(device), static_cast<std::byte*>(data));
  }
  Scratch(Scratch&& other) noexcept
      : device_(std::move(other.device_)), data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (data_) device_->retire([data = data_] { cudaFree(data); });
  }
  std::byte* data() const { return data_; }

 private:
  Scratch(std::shared_ptr<Device> device, std::byte* data) : device_(std::move(device)), data_(data) {}
  std::shared_ptr<Device> device_;
  std::byte* data_;
};

class NcclImpl final : public Nccl {
 public:
  NcclImpl(const NcclApi& api, job::Control& control, Monitor& monitor, std::shared_ptr<Device> device)
      : api_(api), control_(control), monitor_(monitor), device_(std::move(device)) {}
  ~NcclImpl() override {
    close();
    cudaFreeHost(done_);
  }

  Status start() {
    void* done = nullptr;
    PERI_TRY(check(cudaHostAlloc(&done, sizeof(uint32_t), cudaHostAllocPortable), "pinned memory"));
    done_ = new (done) uint32_t(0);
    monitor_.add_watchdog([this](bool failed) { watch(failed); });
    return {};
  }

  Result<std::unique_ptr<StreamCall>> prepare(CheckedCollective call, bool recorded) override;
  Status issue(std::shared_ptr<const NcclWork> work, const std::function<Status()>& enqueue) override;
  void reset() override;
  void close() override;

  const NcclApi& api() const { return api_; }
  const std::shared_ptr<Device>& device() const { return device_; }

  // Calls NCCL, and waits until it has done what it does beside: until then nothing is in the stream.
  template <class Function>
  Status run(const NcclWork& work, const job::Operation& operation, ncclComm_t comm, Function function) {
    ncclResult_t result;
    {
      std::lock_guard lock(mutex_);
      PERI_TRY(check_usable(operation));
      result = function();
    }
    return settle(work, operation, comm, result);
  }

 private:
  struct Issued {
    uint32_t sequence;
    std::shared_ptr<const NcclWork> work;
  };

  Result<ncclComm_t> communicator(const Group& group, const NcclWork& work, const job::Operation& operation);
  Status settle(const NcclWork& work, const job::Operation& operation, ncclComm_t comm, ncclResult_t result);
  void watch(bool failed);
  void check_departed(const NcclWork& work);
  void abort_communicators();
  Status check_usable(const job::Operation& operation) const {
    if (!aborted_) return {};
    PERI_TRY(control_.check_job(operation));
    return operation.fail(Code::PeerLost, "NCCL was given up after an earlier failure");
  }
  // Who has done least of what the others did.
  int missing_of(const NcclWork& work) const {
    return *std::ranges::min_element(work.peers, {}, [&](int r) { return control_.operations_entered(r); });
  }

  const NcclApi& api_;
  job::Control& control_;
  Monitor& monitor_;
  std::shared_ptr<Device> device_;
  std::set<std::string> recorded_;  // operations that members have compared for a recording
  uint32_t* done_ = nullptr;  // in pinned memory: the number of the last work that the stream has passed

  std::mutex mutex_;  // between the rank and the monitor; never held for long
  std::map<Group, ncclComm_t> comms_;
  std::deque<Issued> issued_;  // and not yet seen to be done
  uint32_t sequence_ = 0;
  Clock::time_point progress_ = Clock::now();  // when one was last seen to be done
  std::optional<Clock::time_point> left_;      // when somebody whom it waits for was first seen to have left
  bool aborted_ = false;
  std::vector<std::future<void>> aborts_;
};

// One operation with its packing: NCCL knows parts without gaps only, so others go through scratch memory.
class NcclCall final : public StreamCall {
 public:
  NcclCall(NcclImpl& nccl, CheckedCollective call, ncclComm_t comm, std::shared_ptr<const NcclWork> work)
      : nccl_(nccl), c_(std::move(call)), comm_(comm), work_(std::move(work)) {}

  Status allocate() {
    const Bytes all = c_.part_bytes() * c_.members();
    if (has_gaps(c_.input_part(0))) packed_input_.emplace(PERI_TRY(Scratch::allocate(nccl_.device(), all)));
    if (has_gaps(c_.output_part(0))) packed_output_.emplace(PERI_TRY(Scratch::allocate(nccl_.device(), all)));
    if (moves_nothing()) packed_input_.emplace(PERI_TRY(Scratch::allocate(nccl_.device(), Bytes(4))));
    return {};
  }

  const job::Operation* operation() const override { return &c_.operation; }
  std::shared_ptr<const NcclWork> nccl_work() const override { return work_; }

  Status enqueue() override {
    if (moves_nothing()) return meet();
    if (c_.part_bytes() == Bytes()) return {};
    for (int m = 0; m < c_.members() && packed_input_; ++m) {
      const Window rows = c_.input_part(m);
      PERI_TRY(
          copy_rows(rows, part(packed_input_, m), rows.row_bytes, c_.input + rows.begin, rows.row_stride));
    }
    PERI_TRY(nccl_.run(*work_, c_.operation, comm_, [&] { return exchange(); }));
    if (c_.keeps_input() && !c_.in_place())
      PERI_TRY(check(
          cudaMemcpyAsync(c_.output, c_.input, c_.output_bytes().count(), cudaMemcpyDeviceToDevice, stream()),
          c_.operation.text()));
    for (int m = 0; m < c_.members() && packed_output_; ++m) {
      const Window rows = c_.output_part(m);
      PERI_TRY(
          copy_rows(rows, c_.output + rows.begin, rows.row_stride, part(packed_output_, m), rows.row_bytes));
    }
    return {};
  }

 private:
  cudaStream_t stream() const { return nccl_.device()->stream(); }
  bool moves_nothing() const { return c_.info().sources == Sources::nobody; }
  bool has_gaps(const Window& window) const {
    return window.row_stride != 0 && c_.part_bytes() > Bytes(window.row_bytes);
  }
  std::byte* part(const std::optional<Scratch>& scratch, int member) const {
    return scratch->data() + c_.part_bytes() * member;
  }

  // Between the rows of a part and the same without gaps, by the copy engine.
  Status copy_rows(const Window& rows, std::byte* to, int64_t to_pitch, const std::byte* from,
                   int64_t from_pitch) {
    return check(cudaMemcpy2DAsync(to, static_cast<size_t>(to_pitch), from, static_cast<size_t>(from_pitch),
                                   static_cast<size_t>(rows.row_bytes),
                                   static_cast<size_t>(c_.part_bytes() / Bytes(rows.row_bytes)),
                                   cudaMemcpyDeviceToDevice, stream()),
                 c_.operation.text());
  }

  Status meet() {
    std::byte* word = packed_input_->data();
    PERI_TRY(check(cudaMemsetAsync(word, 0, 4, stream()), c_.operation.text()));
    return nccl_.run(*work_, c_.operation, comm_, [&] {
      return nccl_.api().all_reduce(word, word, 1, ncclInt32, ncclSum, comm_, stream());
    });
  }

  ncclResult_t exchange() {
    const NcclApi& api = nccl_.api();
    const std::byte* input = packed_input_ ? packed_input_->data() : c_.input;
    std::byte* output = packed_output_ ? packed_output_->data() : c_.output;
    const auto bytes = static_cast<size_t>(c_.part_bytes().count());
    const auto count = static_cast<size_t>(elements_in(c_.part_bytes(), c_.dtype).count());
    switch (op_of<CollectiveOp>(c_.spec.op)) {
      case CollectiveOp::all_reduce:
        return api.all_reduce(input, output, count, type_of(c_.dtype), reduction_of(c_.spec.reduce), comm_,
                              stream());
      case CollectiveOp::reduce_scatter:
        return api.reduce_scatter(input, output, count, type_of(c_.dtype), reduction_of(c_.spec.reduce),
                                  comm_, stream());
      case CollectiveOp::all_gather:
        return api.all_gather(input, output, bytes, ncclUint8, comm_, stream());
      case CollectiveOp::broadcast:
        return api.broadcast(input, output, bytes, ncclUint8, c_.root, comm_, stream());
      case CollectiveOp::reduce:
        return api.reduce(input, output, count, type_of(c_.dtype), reduction_of(c_.spec.reduce), c_.root,
                          comm_, stream());
      case CollectiveOp::all_to_all:
        return everyone_to_everyone(input, output, bytes);
    }
    return ncclInvalidUsage;
  }

  ncclResult_t everyone_to_everyone(const std::byte* input, std::byte* output, size_t bytes) {
    const NcclApi& api = nccl_.api();
    ncclResult_t result = api.group_start();
    auto keep_going = [&] { return result == ncclSuccess || result == ncclInProgress; };
    for (int m = 0; m < c_.members() && keep_going(); ++m) {
      const auto offset = static_cast<size_t>(m) * bytes;
      result = api.send(input + offset, bytes, ncclUint8, m, comm_, stream());
      if (keep_going()) result = api.recv(output + offset, bytes, ncclUint8, m, comm_, stream());
    }
    const ncclResult_t ended = api.group_end();  // also after a failure: the group is this thread's
    return keep_going() ? ended : result;
  }

  NcclImpl& nccl_;
  CheckedCollective c_;
  ncclComm_t comm_;
  std::shared_ptr<const NcclWork> work_;  // shared with what is issued: a recording may go before it is done
  std::optional<Scratch> packed_input_, packed_output_;
};

Result<std::unique_ptr<StreamCall>> NcclImpl::prepare(CheckedCollective call, bool recorded) {
  NcclWork work{monitor_.number(call.operation), {}};
  for (int rank : call.group().ranks)
    if (rank != control_.rank()) work.peers.push_back(rank);
  // Everybody's text is compared: another call is RankMismatch. A rank whose operands have moved records
  // again, alone.
  if (!recorded || !recorded_.contains(call.operation.text()))
    PERI_TRY(control_.exchange(call.group(), "", call.operation));
  if (recorded) recorded_.insert(call.operation.text());
  ncclComm_t comm = PERI_TRY(communicator(call.group(), work, call.operation));
  auto made = std::make_unique<NcclCall>(*this, std::move(call), comm,
                                         std::make_shared<const NcclWork>(std::move(work)));
  PERI_TRY(made->allocate());
  return made;
}

Result<ncclComm_t> NcclImpl::communicator(const Group& group, const NcclWork& work,
                                          const job::Operation& operation) {
  {
    std::lock_guard lock(mutex_);
    PERI_TRY(check_usable(operation));
    if (auto found = comms_.find(group); found != comms_.end()) return found->second;
  }
  const int index = group.index_of(control_.rank());
  ncclUniqueId id{};
  std::string mine;
  if (index == 0 && api_.get_unique_id(&id) == ncclSuccess) mine.assign(id.internal, sizeof(id.internal));
  const std::string ids = PERI_TRY(control_.exchange(group, mine, operation))[0];
  if (ids.size() != sizeof(id.internal))
    return operation.fail(Code::IoError, "NCCL has no way to connect this machine's ranks",
                          {api_.last_error(nullptr)});
  std::memcpy(id.internal, ids.data(), ids.size());

  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  ncclResult_t result = api_.init(&comm, group.size(), id, index, &config);
  if (!comm) return operation.fail(Code::IoError, fmt::format("NCCL: {}", api_.error_string(result)));
  {
    std::lock_guard lock(mutex_);
    comms_[group] = comm;  // from here on it is aborted with the others
  }
  PERI_TRY(settle(work, operation, comm, result));
  return comm;
}

Status NcclImpl::settle(const NcclWork& work, const job::Operation& operation, ncclComm_t comm,
                        ncclResult_t result) {
  constexpr std::chrono::microseconds kSpin{200}, kPause{200};
  const auto begun = Clock::now();
  const std::chrono::duration<double> limit(control_.options().timeout_s);
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      PERI_TRY(check_usable(operation));
      if (result == ncclInProgress || result == ncclSuccess) {
        ncclResult_t state = ncclSuccess;
        const ncclResult_t asked = api_.async_error(comm, &state);
        result = asked == ncclSuccess ? state : asked;
      }
      if (result == ncclSuccess) return {};
      if (result != ncclInProgress) {
        const std::string words = api_.last_error(comm);
        abort_communicators();
        PERI_TRY(control_.check_job(operation));  // what NCCL cannot know
        return operation.fail(result == ncclInvalidUsage ? Code::Unsupported : Code::IoError,
                              fmt::format("NCCL: {}", api_.error_string(result)), {words});
      }
    }
    const auto waited = Clock::now() - begun;
    Status job = control_.check_job(operation);
    if (!job || waited > limit) {
      std::lock_guard lock(mutex_);
      abort_communicators();
      PERI_TRY(job);
      const int missing = missing_of(work);
      return control_.timeout({&missing, 1}, operation);
    }
    if (waited > kSpin) std::this_thread::sleep_for(kPause);
  }
}

Status NcclImpl::issue(std::shared_ptr<const NcclWork> work, const std::function<Status()>& enqueue) {
  uint32_t sequence;
  {
    std::lock_guard lock(mutex_);
    if (aborted_) return fail(Code::PeerLost, "NCCL was given up after an earlier failure");
    if (issued_.empty()) progress_ = Clock::now();
    sequence = ++sequence_;
    issued_.push_back({sequence, std::move(work)});
  }
  const Status enqueued = enqueue();
  // Also after a failure: whoever counts must not wait for it.
  const Status marked =
      check(driver().write_value(device_->stream(), reinterpret_cast<CUdeviceptr>(done_), sequence, 0),
            "marking the stream");
  PERI_TRY(enqueued);
  return marked;
}

// Called by the monitor's thread. While the rank is inside a call of NCCL nothing is checked until the next
// time.
void NcclImpl::watch(bool failed) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || aborted_) return;
  const uint32_t done = std::atomic_ref<uint32_t>(*done_).load(std::memory_order_acquire);
  while (!issued_.empty() && static_cast<int32_t>(done - issued_.front().sequence) >= 0) {
    issued_.pop_front();
    progress_ = Clock::now();
    left_.reset();
  }
  if (issued_.empty()) return;
  check_departed(*issued_.front().work);
  const std::chrono::duration<double> limit(control_.options().timeout_s);
  const bool late = Clock::now() - progress_ > limit + kGrace;
  if (!failed && !late) return;
  const NcclWork& work = *issued_.front().work;
  monitor_.report(failed ? Failure::aborted : Failure::timeout, work.number, missing_of(work));
  abort_communicators();
}

// A peer that has ended in good order has done its part of all that it will ever do.
void NcclImpl::check_departed(const NcclWork& work) {
  const auto departed = std::ranges::find_if(work.peers, [&](int r) { return control_.peer_has_left(r); });
  if (departed == work.peers.end()) return;
  if (!left_) left_ = Clock::now();
  if (Clock::now() - *left_ < kSettled) return;
  // All ranks are told; at the next call the job has failed.
  static_cast<void>(control_.lost(*departed, job::Operation("waiting in NCCL", {})));
}

// With the mutex held.
void NcclImpl::abort_communicators() {
  aborted_ = true;
  for (const auto& [group, comm] : comms_) {
    std::packaged_task<void()> abort([&api = api_, index = device_->index(), comm = comm] {
      cudaSetDevice(index);
      api.abort(comm);
    });
    aborts_.push_back(abort.get_future());
    // Without a thread the communicator is left to the end of the process.
    if (auto thread = start_thread(std::move(abort))) thread->detach();
  }
  comms_.clear();
}

void NcclImpl::reset() {
  std::lock_guard lock(mutex_);
  abort_communicators();
  aborted_ = false;
  issued_.clear();
  left_.reset();
  recorded_.clear();
  std::erase_if(aborts_, [](const std::future<void>& abort) {
    return abort.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
}

void NcclImpl::close() {
  std::vector<std::future<void>> aborts;
  {
    std::lock_guard lock(mutex_);
    abort_communicators();
    aborts = std::move(aborts_);
    aborts_.clear();
  }
  const auto deadline = Clock::now() + kMaxAbortWait;
  for (std::future<void>& abort : aborts) abort.wait_until(deadline);
}

}  // namespace

Result<std::unique_ptr<Nccl>> Nccl::create(job::Control& control, Monitor& monitor,
                                           std::shared_ptr<Device> device) {
  const Result<NcclApi>& api = nccl_api();
  if (!api) return std::unexpected(api.error());
  if (!driver().write_value) return fail(Code::Unsupported, "NCCL needs a driver of CUDA 12 or later");
  auto nccl = std::make_unique<NcclImpl>(*api, control, monitor, std::move(device));
  PERI_TRY(nccl->start());
  return nccl;
}

}  // namespace peri::kernels::cuda
