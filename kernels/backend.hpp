// The backend contract: memory, kernels, collectives, recordings. `host` is linked in; others keep
// the same promises and pass the same cases (tests/CMakeLists.txt: peri_test_cuda).
//
// Calls are issued in order on one stream; on the host backend each has completed when it returns. Every call
// that involves peers has a deadline (JobOptions::timeout_s) and ends early when the job is aborted:
// PeerLost, Timeout, RankMismatch or Interrupted, naming rank and op.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/kernel.hpp"
#include "core/topology.hpp"
#include "kernels/step.hpp"
#include "kernels/symmetric/symmetric_memory.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels {

struct JobOptions {
  int rank = 0;
  int world_size = 1;
  // Among the ranks of this host, which take its GPUs in turn; absent: the rank.
  std::optional<int> local_rank;
  // Shared by the ranks of one job, unguessable; names abstract sockets only.
  std::string job;
  // Deadline of every wait on a peer.
  double timeout_s = 60;
  // Threads that this rank may use, itself included.
  int threads = 1;
  // False when ranks x threads exceed the cores: waits sleep at once.
  bool may_spin = true;
};

inline constexpr const char* kOutdatedRecording =
    "the recording was made before the job recovered from a failure";

// A place in the stream whose time can be asked for.
class Mark {
 public:
  virtual ~Mark() = default;
};

// A sequence of steps, prepared to be run any number of times. Its addresses are fixed, but for operands in
// blocks that it follows.
class Recording {
 public:
  virtual ~Recording() = default;
  // How many steps it was made from.
  virtual int step_count() const = 0;
  // If it was prepared with marks: one before the first step and one after each, passed anew by every replay.
  virtual std::span<const std::unique_ptr<Mark>> marks() const = 0;
  // From here on the blocks lie there, by Operand::block: ordinary memory, as large as before. For backends
  // whose recordings follow blocks.
  virtual void move(std::span<std::byte* const> blocks) = 0;
};
enum class Marks : uint8_t { none, between_steps };

// The clock of marks, in ns: the same for all processes of a machine.
inline int64_t host_clock() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  virtual const JobOptions& job() const = 0;
  virtual std::string device_name() const = 0;  // where this rank computes: "GPU 0", "host"
  virtual const Topology& topology() const = 0;

  // At least 64-byte aligned, contents undefined. OutOfMemory before the machine runs out, with the sizes in
  // the message.
  virtual Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) = 0;
  // Collective over `group`: every member calls with the same size in the same order; a difference is
  // RankMismatch. Freeing is local and never waits.
  virtual Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) = 0;
  // The group whose symmetric memory holds `address`, found by its allocation; nullptr if it is ordinary.
  virtual const Group* symmetric_group(const std::byte* address) const = 0;
  // Signals, barriers and peers' blocks of one such allocation; nullptr if it is ordinary. Lives as long as
  // the storage, and may be used until `leave`.
  virtual SymmetricMemory* symmetric_memory(const Storage& storage) const = 0;

  // Compute. Operand memory must stay valid until the call is done.
  virtual Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                        std::span<const Operand> outputs) = 0;
  // A collective of the op table, with as many inputs and outputs as algorithms.def says, and those of its
  // epilogue. The first input and the first output are contiguous; the algorithm's symmetric operand lies in
  // symmetric memory of the spec's group, or of one that contains it (multimem: of exactly the spec's group;
  // else InvalidArgument). For two_shot and multimem, the first output may be the first input itself, with an
  // epilogue only where the call has its end barrier. An epilogue's bits are those of the fused kernel and of
  // rms_norm, launched on the collective's result. Its inputs have any strides; no byte of them is an
  // output's, nor one that the algorithm overwrites.
  virtual Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                            std::span<const Operand> outputs) = 0;
  // Same type, any strides; between places too.
  virtual Status copy(const Operand& from, const Operand& to) = 0;

  // Prepares a sequence of such calls to be run as a whole by `replay`: nothing runs now. A backend may fuse,
  // overlap and order them anew as long as each reads what it would if they ran one after the other. Operand
  // memory must stay valid as long as the recording is replayed. An error names the line of its step, and
  // leaves nothing. Unsupported for copies between places.
  virtual Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) = 0;
  virtual Status replay(const Recording& recording) = 0;
  // Whether recordings follow blocks. If not, what lies elsewhere than when it was prepared needs another
  // recording, and steps name no blocks.
  virtual bool follows_blocks() const = 0;
  virtual Status synchronize() = 0;

  // Marks this place in the stream.
  virtual Result<std::unique_ptr<Mark>> mark() = 0;
  // When the stream passed these marks last, on `host_clock` (GPUs: to a few microseconds); nothing for those
  // that it has not reached. Never waits. Each call may compare the clocks anew, so ask in one call for
  // all marks whose times belong together.
  virtual std::vector<std::optional<int64_t>> times(std::span<const Mark* const> marks) = 0;

  // Every member's text, in group order: for agreement on plans. Not capturable. `what` names the step in
  // messages.
  virtual Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                                    const std::string& what) = 0;
  // Set by a signal handler: every wait sees it within 50 ms and returns Interrupted.
  virtual std::atomic<bool>& interrupt_flag() = 0;
  // Tells the peers that this rank is failing and why, so that they end with PeerLost naming it. Idempotent,
  // never waits.
  virtual void abort(const Error& cause) = 0;
  // How often the job has recovered. A recording belongs to the generation in which it was made: later ones
  // refuse it (InvalidArgument).
  virtual uint32_t generation() const = 0;
  // Collective over all ranks of the job: begins anew after a failure. What the ranks were doing together is
  // given up on all of them (so it may be called by a rank whose peers have noticed nothing yet), the
  // interrupt flag is cleared, and once all ranks are here groups and symmetric memory are as good as new:
  // contents stay, signals, messages and recordings do not. Deadline: timeout_s. PeerLost for ever if a rank
  // has ended; after another error it may be called again.
  virtual Status recover() = 0;
  // Orderly end: says goodbye so that peers that still wait for this rank say "rank r has already finished",
  // and frees what is shared.
  virtual void leave() = 0;
};

// Joins the job: connects to all peers (deadline: timeout_s) and starts watching them.
Result<std::unique_ptr<Backend>> create_host_backend(const JobOptions& options);

}  // namespace peri::kernels
