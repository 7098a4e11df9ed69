// The text of device code: the headers that generated kernels include (kernels/cuda/*.cuh and core's scalar
// vocabulary, both inside the program), and how host values are written into a kernel's source and constants.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/types/dtype.hpp"
#include "kernels/compute/space.hpp"

namespace peri::kernels::cuda {

struct Header {
  const char* name;  // as #include names it
  std::string_view text;
};
std::span<const Header> headers();

// The dtype's element type in source_elements.cuh.
const char* element(DType dtype);

// What a kernel is passed besides addresses: a struct whose fields are all 8 bytes wide, written in order.
class Constants {
 public:
  Constants& add(int64_t word);
  Constants& add(double word);
  Constants& add(const Constants& others);
  Constants& add(const Space& space);  // Space<operands, rank_of(space)> of source_elements.cuh
  void* data() const { return const_cast<int64_t*>(words_.data()); }
  size_t size() const { return words_.size(); }

 private:
  std::vector<int64_t> words_;
};
// A space of rank 0 is passed as one of rank 1.
int rank_of(const Space& space);
// The type that can number the space's elements.
const char* index_type(const Space& space);

}  // namespace peri::kernels::cuda
