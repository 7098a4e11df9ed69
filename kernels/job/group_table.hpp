// What a rank shares with each group of ranks, made when first used: the same bookkeeping on every backend.
// `Context` is the backend's; it has
//   is_ready()  its shared part is set up, on this rank
//   shape()     a text that members whose shared parts fit together have in common
//   reset()     brings what is shared, this rank's part of it, and what is counted to their beginning
//   drop()      forgets the shared part, to be set up again when next needed
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/types/group.hpp"
#include "kernels/job/control.hpp"

namespace peri::kernels::job {

template <class Context>
class GroupTable {
 public:
  // nullptr if the group is new.
  Context* find(const Group& group) const {
    auto found = contexts_.find(group);
    return found == contexts_.end() ? nullptr : found->second.get();
  }
  Context* insert(const Group& group, std::unique_ptr<Context> context) {
    return (contexts_[group] = std::move(context)).get();
  }

  // In the middle of a recovery, while nobody uses anything that is shared.
  Status reset() {
    for (auto& [group, context] : contexts_)
      if (context->is_ready()) PERI_TRY(context->reset());
    return {};
  }

  // Collective over the world, after a recovery: the failure may have met members at different steps of
  // setting a group up, so what not all of them have is dropped.
  Status settle(Control& control) {
    std::string mine;
    for (const auto& [group, context] : contexts_)
      if (context->is_ready()) mine += line_of(group, *context);
    const Operation operation("comparing the groups after a recovery", {});
    control.enter(operation);
    const std::vector<std::string> all =
        PERI_TRY(control.exchange(world_group(control.options().world_size), mine, operation));
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
  static std::string line_of(const Group& group, const Context& context) {
    return fmt::format("{} {}\n", group.to_string(), context.shape());
  }
  static bool has_line(const std::string& text, const std::string& line) {
    return text.starts_with(line) || text.find("\n" + line) != std::string::npos;
  }

  std::map<Group, std::unique_ptr<Context>> contexts_;
};

}  // namespace peri::kernels::job
