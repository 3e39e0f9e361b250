#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "spatialmamba/tensor.h"

namespace spatialmamba::test {

/// Same type, shape and bits.
inline void expect_same(const Tensor& actual, const Tensor& expected, const std::string& name) {
  EXPECT_EQ(name_of(actual.dtype()), name_of(expected.dtype())) << name;
  ASSERT_EQ(actual.shape(), expected.shape()) << name;
  EXPECT_TRUE(std::equal(actual.raw(), actual.raw() + actual.bytes(), expected.raw())) << name;
}

/// Same names in the same order, same tensors.
inline void expect_same(const TensorMap& actual, const TensorMap& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  auto other = expected.begin();
  for (const auto& [name, tensor] : actual) {
    EXPECT_EQ(name, other->name);
    expect_same(tensor, other->tensor, name);
    ++other;
  }
}

}  // namespace spatialmamba::test
