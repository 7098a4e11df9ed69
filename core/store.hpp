// A table that owns what typed ids refer to: it hands them out, and only they index it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ranges>
#include <utility>
#include <vector>

#include "core/id.hpp"

namespace peri {

// Container: a vector, or a deque where references to elements outlive additions.
template <class Id, class T, class Container = std::vector<T>>
class Store {
 public:
  Store() = default;
  // `size` equal elements: one for each element of another table with such ids.
  explicit Store(int size, const T& value = T()) { assign(size, value); }

  int size() const { return static_cast<int>(elements_.size()); }
  bool empty() const { return elements_.empty(); }
  // What an id from outside must be asked before it indexes.
  bool contains(Id id) const { return id.index >= 0 && id.index < size(); }
  decltype(auto) operator[](Id id) { return elements_[at(id)]; }
  decltype(auto) operator[](Id id) const { return elements_[at(id)]; }
  decltype(auto) back() { return elements_.back(); }

  Id push_back(T element) {
    elements_.push_back(std::move(element));
    return Id(size() - 1);
  }
  void pop_back() { elements_.pop_back(); }
  void reserve(int size) { elements_.reserve(static_cast<size_t>(size)); }
  void assign(int size, const T& value) { elements_.assign(static_cast<size_t>(size), value); }

  // Elements, and ids, in the order of the ids.
  auto begin() { return elements_.begin(); }
  auto end() { return elements_.end(); }
  auto begin() const { return elements_.begin(); }
  auto end() const { return elements_.end(); }
  auto ids() const {
    return std::views::iota(int32_t{0}, static_cast<int32_t>(size())) |
           std::views::transform([](int32_t index) { return Id(index); });
  }
  bool operator==(const Store&) const = default;

 private:
  static size_t at(Id id) { return static_cast<size_t>(id.index); }
  Container elements_;
};

}  // namespace peri
