// Several lambdas as one visitor: std::visit does not build if a kind of the variant has no arm.
#pragma once

namespace peri {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

}  // namespace peri
