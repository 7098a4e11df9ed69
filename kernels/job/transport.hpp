// How the ranks of a job talk where they do not share memory: texts of any length between any two of them,
// and file descriptors between those of one machine. An interface, so that a network can stand beside the
// sockets of one machine. Nothing here blocks: the caller polls (`progress`) and decides when to give up.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "kernels/backend.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::kernels::job {

struct Message {
  std::string what;  // the step that it belongs to, as errors name it
  std::string text;
  os::Fd file;  // sent along, or none
};

// Which conversation a message belongs to: both sides count the conversations of each tag, anew in each
// generation of the job.
struct MessageKey {
  uint64_t generation = 0;
  uint64_t tag = 0;
  uint64_t sequence = 0;
  auto operator<=>(const MessageKey&) const = default;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Queued at once, sent by `progress`. The file stays the caller's; it needs `passes_files`.
  virtual void post(int peer, const MessageKey& key, const std::string& what, const std::string& text,
                    const os::Fd* file) = 0;
  // All that was posted to the peer has been sent.
  virtual bool sent(int peer) const = 0;
  virtual std::optional<Message> take(int peer, const MessageKey& key) = 0;
  // Sends and receives what is possible, waiting at most `at_most` for something to be.
  virtual void progress(std::chrono::milliseconds at_most) = 0;
  // The peer's end is closed and all that it sent has been received.
  virtual bool gone(int peer) const = 0;
  // Whether a message to the peer may carry a file descriptor.
  virtual bool passes_files(int peer) const = 0;
  // Drops what was posted, or received and not taken, in earlier generations, and whatever of them still
  // comes.
  virtual void begin_generation(uint64_t generation) = 0;
  // Descriptors, with what to poll for, that become ready when the peer's process ends. They are the
  // transport's.
  virtual std::vector<pollfd> signs_of_end(int peer) const = 0;
};

// The ranks of one machine: a UNIX socket per pair, in the abstract namespace (no name in the file system
// that could be left behind). Connects to the lower ranks and accepts the higher ones. Timeout names the
// missing.
Result<std::unique_ptr<Transport>> connect_local(const JobOptions& options);

}  // namespace peri::kernels::job
