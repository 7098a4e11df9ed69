// The compilations of a function that are kept: at most so many, of which the one that was called longest ago
// makes room for another; and which of them keep memory of their own between calls.
#pragma once

#include <memory>
#include <vector>

#include "bindings/compiled/argument_tables.hpp"
#include "bindings/compiled/captures.hpp"
#include "bindings/compiled/signature.hpp"
#include "bindings/session/compiled.hpp"

namespace peri::lua::compiled {

// What a function does with symbols of its arguments' types.
struct Traced {
  Graph graph;
  // The tensors of its constants, and the captured ones that it changes in place.
  std::vector<kernels::Tensor> constants, written;
  // Leaves by position in `returned`, also those of `assigned` and `changed`.
  Tree results;
  std::vector<session::Returned> returned;
  std::vector<Assigned> assigned;
  std::vector<ChangedField> changed;
  // The tables of the arguments that are changed or returned.
  std::vector<TablePath> tables;
  // Whether a new table stands in several places of the results.
  bool repeats_tables = false;
};

struct Specialisation {
  Signature signature;
  Captures captures;
  // Its graph has become the program's.
  Traced traced;
  session::CompiledProgram program;
};

class Specialisations {
 public:
  static constexpr int64_t kDefaultLimit = 64;
  explicit Specialisations(int64_t limit) : limit_(limit) {}

  int64_t size() const { return std::ssize(all_); }
  // In the order in which they were compiled.
  const std::vector<std::unique_ptr<Specialisation>>& all() const { return all_; }
  // The one that was called last comes first; explain() and the like describe it.
  const std::vector<Specialisation*>& recent() const { return recent_; }

  // The one at this place of `recent` is called now.
  Specialisation* call(size_t place);
  // The number of the plan to be dropped before another is made for this signature; 0: none.
  uint64_t to_drop(const Signature& signature) const;
  // If it is there.
  void drop(uint64_t plan);
  // While the function is called: a finalizer that runs meanwhile may call it, too, and what that call drops
  // lives on until the outermost one ends.
  class Calling {
   public:
    explicit Calling(Specialisations& called) : called_(called) { ++called_.calls_; }
    ~Calling() {
      if (--called_.calls_ == 0) called_.dropped_.clear();
    }
    Calling(const Calling&) = delete;

   private:
    Specialisations& called_;
  };
  // It is called now.
  Specialisation* add(Specialisation made);

  // Of outputs and copies of inputs, which no other function uses.
  Bytes kept_bytes() const;

 private:
  void release_memory();

  int64_t limit_;
  std::vector<std::unique_ptr<Specialisation>> all_;
  std::vector<Specialisation*> recent_;
  int calls_ = 0;
  std::vector<std::unique_ptr<Specialisation>> dropped_;
};

}  // namespace peri::lua::compiled
