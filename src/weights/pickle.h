#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// Python's pickle format (protocols 2 to 5), read as inert data: no class is ever looked up, nothing is
/// called. Whatever a pickle says to construct stays a node that names the callable, its arguments and its
/// state.
namespace spatialmamba::pickle {

// Limits on what a file may ask for. Checkpoints stay orders of magnitude below.
inline constexpr std::size_t kMaxBytes = std::size_t{1} << 28;
inline constexpr std::size_t kMaxOperations = std::size_t{1} << 26;
inline constexpr std::size_t kMaxValues = std::size_t{1} << 22;
inline constexpr std::size_t kMaxMemo = kMaxValues;
inline constexpr std::size_t kMaxStack = kMaxValues;
inline constexpr std::size_t kMaxMarks = std::size_t{1} << 12;

struct Value;
using Items = std::vector<const Value*>;
using Entries = std::vector<std::pair<const Value*, const Value*>>;

struct None {};
struct BigInteger {
  std::string digits;  ///< beyond 64 bits: two's complement, least significant byte first
};
struct Text {
  std::string value;  ///< UTF-8 as the file has it, unchecked
};
struct Bytes {
  std::string value;
};
struct List {
  Items items;
};
struct Tuple {
  Items items;
};
struct Set {
  Items items;
};
struct Dict {
  Entries entries;
};
/// The name of a class or function, e.g. {"collections", "OrderedDict"}.
struct Global {
  std::string module;
  std::string name;

  std::string full() const { return module + '.' + name; }
};
/// callable(*arguments), unevaluated, then filled like a list or a dict and given a state.
struct Object {
  const Value* callable = nullptr;
  const Value* arguments = nullptr;
  const Value* keywords = nullptr;  ///< nullptr where there are none
  const Value* state = nullptr;     ///< nullptr where there is none
  Items items;
  Entries entries;
};
/// Something outside the pickle, e.g. ("storage", torch.FloatStorage, "0", "cpu", 216).
struct Persistent {
  const Value* id = nullptr;
};

/// A node. Nodes point to one another freely: any depth, shared, even in circles, so whoever walks a tree
/// must bound the walk.
struct Value {
  std::variant<None, bool, std::int64_t, BigInteger, double, Text, Bytes, List, Tuple, Set, Dict, Global,
               Object, Persistent>
      content;

  /// nullptr when the value is of another kind.
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&content);
  }
  bool is_none() const { return as<None>() != nullptr; }
  /// An integer that fits, else nothing.
  std::optional<std::int64_t> integer() const;
  /// An integer or a floating-point number.
  std::optional<double> number() const;
  std::optional<std::string_view> text() const;
  /// Elements of a list, a tuple or a set; of a subclass of them what was appended. Empty for anything else.
  std::span<const Value* const> items() const;
  /// Entries of a dict or of a subclass (OrderedDict, CfgNode, ...), nothing for anything else.
  std::optional<Entries> entries() const;
  /// The value at a text key of a dict; nullptr when there is none.
  const Value* find(std::string_view key) const;
  /// The class or function that an object is built by; nullptr for anything else.
  const Global* constructor() const;
};

/// A parsed pickle; owns all nodes.
class Tree {
 public:
  Tree(std::deque<Value> values, const Value* root, std::size_t bytes)
      : values_(std::move(values)), root_(root), bytes_(bytes) {}

  const Value& root() const { return *root_; }
  /// Every node, in the order in which the pickle made them.
  const std::deque<Value>& values() const { return values_; }
  /// Length of the pickle within what was parsed.
  std::size_t bytes() const { return bytes_; }

 private:
  std::deque<Value> values_;  // a deque: nodes never move
  const Value* root_;
  std::size_t bytes_;
};

/// Parses the pickle that `bytes` begin with. Throws Error (without a file name) for anything malformed, for
/// an operation outside the protocols, and beyond a limit.
Tree parse(std::span<const std::byte> bytes);

}  // namespace spatialmamba::pickle
