// What a rank shares with its peers, made when first used: with a group of ranks a context, with a pair of
// ranks within a group a channel. The same bookkeeping on every backend, whose `Context` and `Channel` they
// are. A context has
//   is_ready()  its shared part is set up, on this rank
//   shape()     a text that members whose shared parts fit together have in common
//   reset()     brings what is shared, this rank's part of it, and what is counted to their beginning
//   drop()      forgets the shared part, to be set up again when next needed
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/collectives/collective_call.hpp"
#include "kernels/job/control.hpp"
#include "kernels/symmetric/symmetric_blocks.hpp"

namespace peri::kernels {

template <class Context, class Channel>
class CommunicatorOf {
 public:
  CommunicatorOf(job::Control& control, std::shared_ptr<SymmetricBlocks> blocks)
      : control_(control), blocks_(std::move(blocks)) {}
  virtual ~CommunicatorOf() = default;
  job::Control& control() const { return control_; }
  const std::shared_ptr<SymmetricBlocks>& blocks() const { return blocks_; }
  // InvalidArgument if this rank is no member, or if the members are not distinct ranks of the job.
  Result<Context*> context(const Group& group) {
    if (auto found = contexts_.find(group); found != contexts_.end()) return found->second.get();
    PERI_TRY(check_group(group, control_.rank(), control_.options().world_size));
    return (contexts_[group] = make_context(group)).get();
  }
  Result<Channel*> channel(const Group& group, int from, int to, const job::Operation& operation) {
    auto& channel = channels_[{group, from, to}];
    if (!channel) channel = PERI_TRY(open_channel(group, from, to, operation));
    return channel.get();
  }

 protected:
  // In the middle of a recovery, while nobody uses anything that is shared. Channels are opened anew when
  // next needed.
  Status reset() {
    channels_.clear();
    for (auto& [group, context] : contexts_)
      if (context->is_ready()) PERI_TRY(context->reset());
    return {};
  }

  // Collective over the world, after a recovery: the failure may have met members at different steps of
  // setting a group up, so what not all of them have is dropped.
  Status settle() {
    std::string mine;
    for (const auto& [group, context] : contexts_)
      if (context->is_ready()) mine += line_of(group, *context);
    const job::Operation operation("comparing the groups after a recovery", {});
    control_.enter(operation);
    const std::vector<std::string> all =
        PERI_TRY(control_.exchange(world_group(control_.options().world_size), mine, operation));
    for (auto& [group, context] : contexts_) {
      if (!context->is_ready()) continue;
      const std::string line = line_of(group, *context);
      for (int member : group.ranks)
        if (!has_line(all[static_cast<size_t>(member)], line)) {
          context->drop();
          break;
        }
    }
    return {};
  }

 private:
  virtual std::unique_ptr<Context> make_context(const Group& group) = 0;
  virtual Result<std::unique_ptr<Channel>> open_channel(const Group& group, int from, int to,
                                                        const job::Operation& operation) = 0;
  static std::string line_of(const Group& group, const Context& context) {
    return fmt::format("{} {}\n", group.to_string(), context.shape());
  }
  static bool has_line(const std::string& text, const std::string& line) {
    return text.starts_with(line) || text.find("\n" + line) != std::string::npos;
  }

  job::Control& control_;
  std::shared_ptr<SymmetricBlocks> blocks_;
  std::map<Group, std::unique_ptr<Context>> contexts_;
  std::map<std::tuple<Group, int, int>, std::unique_ptr<Channel>> channels_;
};

}  // namespace peri::kernels
