// How the ranks of a job find each other and talk before they share memory: one UNIX socket per pair, in the
// abstract namespace (no name in the file system that could be left behind), carrying texts of any length and
// file descriptors. Nothing here blocks: the caller turns the crank and decides when to give up.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
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

// Which conversation a message belongs to: both sides count the conversations of each topic.
struct MessageKey {
  uint64_t topic = 0;
  uint64_t sequence = 0;
  auto operator<=>(const MessageKey&) const = default;
};

class Mailbox {
 public:
  // Connects to all ranks of the job: to the lower ones actively, to the higher ones by accepting. Timeout
  // names the missing.
  static Result<Mailbox> connect(const JobOptions& options);

  // Queued at once, sent by `progress`. The file stays the caller's.
  void post(int peer, MessageKey key, const std::string& what, const std::string& text,
            const os::Fd* file = nullptr);
  bool sent(int peer) const { return peers_[static_cast<size_t>(peer)].outgoing.empty(); }
  std::optional<Message> take(int peer, MessageKey key);
  // Sends and receives what is possible, waiting at most `at_most` for something to be.
  void progress(std::chrono::milliseconds at_most);
  // The peer's end is closed and all that it sent has been received.
  bool gone(int peer) const { return peers_[static_cast<size_t>(peer)].gone; }

  int socket(int peer) const { return peers_[static_cast<size_t>(peer)].socket.get(); }
  pid_t pid(int peer) const { return peers_[static_cast<size_t>(peer)].pid; }

 private:
  struct Outgoing {
    std::string packet;
    os::Fd file;
  };
  struct Peer {
    os::Fd socket;
    pid_t pid = 0;
    bool gone = false;
    std::deque<Outgoing> outgoing;
    std::map<MessageKey, Message> partial, complete;
  };
  void send_some(Peer& peer);
  void receive_some(Peer& peer);

  std::vector<Peer> peers_;  // by rank; this rank's own is empty
};

}  // namespace peri::kernels::job
