// The gate of NVLink multicast, which is closed here, and what PTX can reduce through it. Nothing is created:
// tests/house sees to that.
#include <catch2/catch.hpp>

#include "kernels/cuda/collectives/launch.hpp"
#include "kernels/cuda/symmetric/multicast.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;
using namespace peri::kernels::cuda;

TEST_CASE("the gate of multicast is closed, and says why") {
  const Status gate = check_multicast(0);
  REQUIRE(!gate);
  CHECK(gate.error().code == Code::Unsupported);
  CHECK(gate.error().message == "PERI_MULTICAST is not 1");
}

// The tables of multimem.ld_reduce in the PTX ISA; no u8, and nothing is multiplied.
TEST_CASE("the switch reduces what PTX says") {
  using enum Element;
  using enum Reduction;
  for (Element element : {f32, f16, bf16, i32, i64}) CHECK(multimem_has(element, sum));
  for (Element element : {f32, f16, bf16}) CHECK(multimem_has(element, avg));
  for (Element element : {f16, bf16, i32, i64})
    CHECK((multimem_has(element, min) && multimem_has(element, max)));
  CHECK(!multimem_has(f32, min));
  CHECK(!multimem_has(f32, max));
  for (Element element : {f32, f16, bf16, i32, i64, u8}) {
    CHECK(!multimem_has(element, prod));
    CHECK(!multimem_has(element, none));
  }
  CHECK(!multimem_has(u8, sum));
}
