// NCCL as one more way to carry out collectives: for large messages, and between GPUs that cannot reach each
// other's memory. Separate from ours because its kernels know neither our deadline nor our abort word: here
// is what bounds them.
//
// NCCL is loaded at run time. An operation's members first compare what they are about to do (as text, before
// every call, and before the first recording of such an operation, as one rank may record again where others
// need not), since NCCL would not notice a difference. After each operation or replay the stream
// writes its number to host memory; the monitor, seeing that one is overdue or that the job has failed,
// aborts all communicators, which ends NCCL's kernels, and NCCL is not used again before the job has
// recovered. Overdue is what the stream has not passed by the deadline, counted from its issue or from the
// one before it: so a replay with NCCL in it must as a whole take less.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/collectives/collective_call.hpp"
#include "kernels/cuda/monitor.hpp"

namespace peri::kernels::cuda {

class StreamCall;

struct NcclLibrary {
  std::string version, path;
};
// Unsupported, with the reason, where there is none. The library stays loaded.
Result<NcclLibrary> find_nccl();

// What the errors of an operation name.
struct NcclWork {
  uint32_t number;         // the monitor's
  std::vector<int> peers;  // global ranks that it may be waiting for
};

class Nccl {
 public:
  static Result<std::unique_ptr<Nccl>> create(job::Control& control, Monitor& monitor,
                                              std::shared_ptr<Device> device);
  virtual ~Nccl() = default;

  // Collective over the call's group, unless it is to be recorded and one like it has been. The call refers
  // to this object.
  virtual Result<std::unique_ptr<StreamCall>> prepare(CheckedCollective call, bool recorded) = 0;
  // Carries out `enqueue`, which puts the work (or a graph of which it is a part) into the stream.
  virtual Status issue(std::shared_ptr<const NcclWork> work, const std::function<Status()>& enqueue) = 0;
  // Aborts the communicators; others are made when next needed. For a new generation, when the stream is
  // done. What was prepared before must not be enqueued again.
  virtual void reset() = 0;
  // Aborts the communicators, once the stream is done. NCCL keeps them while graphs use them; this waits at
  // most a second for that.
  virtual void close() = 0;
};

}  // namespace peri::kernels::cuda
