#include <bit>
#include <unordered_map>

#include "base/error.h"
#include "archive/cursor.h"
#include "weights/pickle.h"

namespace spatialmamba::pickle {
namespace {

/// The operations of protocols 2 to 5, by the names that Python's pickletools gives them.
enum class Op : std::uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  dup = '2',
  binbytes = 'B',
  short_binbytes = 'C',
  binfloat = 'G',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  none = 'N',
  binpersid = 'Q',
  reduce = 'R',
  binstring = 'T',
  short_binstring = 'U',
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  dict = 'd',
  appends = 'e',
  binget = 'h',
  long_binget = 'j',
  list = 'l',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  setitems = 'u',
  empty_tuple = ')',
  empty_list = ']',
  empty_dict = '}',
  proto = 0x80,
  newobj = 0x81,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  long4 = 0x8b,
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binbytes8 = 0x8e,
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  newobj_ex = 0x92,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
  bytearray8 = 0x96,
};

constexpr int kNewestProtocol = 5;

class Machine {
 public:
  explicit Machine(std::span<const std::byte> bytes) : cursor_(bytes) {}

  Tree run() {
    for (std::size_t operations = 0; operations < kMaxOperations; ++operations) {
      const auto op = static_cast<Op>(cursor_.read<std::uint8_t>());
      if (op == Op::stop) {
        const Value* root = pop();
        return {std::move(values_), root, static_cast<std::size_t>(cursor_.position())};
      }
      if (!scalar(op) && !text(op) && !container(op) && !fill(op) && !remember(op) && !construct(op) &&
          !frame(op)) {
        fail("operation 0x{:02x} at byte {} is not one of a checkpoint", static_cast<int>(op),
             cursor_.position() - 1);
      }
    }
    fail("more than {} operations", kMaxOperations);
  }

 private:
  // --- The groups of operations: each returns false for an operation of another group. ---

  bool scalar(Op op) {
    switch (op) {
      case Op::none:
        return push(None{});
      case Op::newtrue:
        return push(true);
      case Op::newfalse:
        return push(false);
      case Op::binint:
        return push(std::int64_t{cursor_.read<std::int32_t>()});
      case Op::binint1:
        return push(std::int64_t{cursor_.read<std::uint8_t>()});
      case Op::binint2:
        return push(std::int64_t{cursor_.read<std::uint16_t>()});
      case Op::long1:
        return push_long(cursor_.read<std::uint8_t>());
      case Op::long4:
        return push_long(cursor_.read<std::uint32_t>());
      case Op::binfloat:  // the one big-endian number of the format
        return push(std::bit_cast<double>(__builtin_bswap64(cursor_.read<std::uint64_t>())));
      default:
        return false;
    }
  }

  bool text(Op op) {
    switch (op) {
      case Op::short_binunicode:
        return push(Text{string(cursor_.read<std::uint8_t>())});
      case Op::binunicode:
        return push(Text{string(cursor_.read<std::uint32_t>())});
      case Op::binunicode8:
        return push(Text{string(cursor_.read<std::uint64_t>())});
      case Op::short_binstring:  // Python 2's str: keys and names
        return push(Text{string(cursor_.read<std::uint8_t>())});
      case Op::binstring:
        return push(Text{string(cursor_.read<std::uint32_t>())});
      case Op::short_binbytes:
        return push(Bytes{string(cursor_.read<std::uint8_t>())});
      case Op::binbytes:
        return push(Bytes{string(cursor_.read<std::uint32_t>())});
      case Op::binbytes8:
      case Op::bytearray8:
        return push(Bytes{string(cursor_.read<std::uint64_t>())});
      default:
        return false;
    }
  }

  bool container(Op op) {
    switch (op) {
      case Op::empty_tuple:
        return push(Tuple{});
      case Op::tuple1:
        return push(Tuple{pop_some(1)});
      case Op::tuple2:
        return push(Tuple{pop_some(2)});
      case Op::tuple3:
        return push(Tuple{pop_some(3)});
      case Op::tuple:
        return push(Tuple{pop_to_mark()});
      case Op::empty_list:
        return push(List{});
      case Op::list:
        return push(List{pop_to_mark()});
      case Op::empty_set:
        return push(Set{});
      case Op::frozenset:
        return push(Set{pop_to_mark()});
      case Op::empty_dict:
        return push(Dict{});
      case Op::dict:
        return push(Dict{paired(pop_to_mark())});
      default:
        return false;
    }
  }

  bool fill(Op op) {
    switch (op) {
      case Op::append:
        add_items(pop_some(1));
        return true;
      case Op::appends:
      case Op::additems:
        add_items(pop_to_mark());
        return true;
      case Op::setitem:
        add_entries(paired(pop_some(2)));
        return true;
      case Op::setitems:
        add_entries(paired(pop_to_mark()));
        return true;
      default:
        return false;
    }
  }

  bool remember(Op op) {
    switch (op) {
      case Op::binput:
        return put(cursor_.read<std::uint8_t>());
      case Op::long_binput:
        return put(cursor_.read<std::uint32_t>());
      case Op::memoize:
        return put(memo_.size());
      case Op::binget:
        return get(cursor_.read<std::uint8_t>());
      case Op::long_binget:
        return get(cursor_.read<std::uint32_t>());
      default:
        return false;
    }
  }

  bool construct(Op op) {
    switch (op) {
      case Op::global: {
        const std::string_view module = cursor_.line();
        const std::string_view name = cursor_.line();
        return push(Global{std::string(module), std::string(name)});
      }
      case Op::stack_global: {
        const Items names = pop_some(2);
        const auto module = names[0]->text();
        const auto name = names[1]->text();
        if (!module || !name) fail("a class without a name before byte {}", cursor_.position());
        return push(Global{std::string(*module), std::string(*name)});
      }
      case Op::reduce:
      case Op::newobj: {
        const Items parts = pop_some(2);
        return push_object(parts[0], parts[1], nullptr);
      }
      case Op::newobj_ex: {
        const Items parts = pop_some(3);
        return push_object(parts[0], parts[1], parts[2]);
      }
      case Op::build: {
        const Value* state = pop();
        auto* object = std::get_if<Object>(&top()->content);
        if (object == nullptr) fail("a state without an object before byte {}", cursor_.position());
        object->state = state;
        return true;
      }
      case Op::binpersid:
        return push(Persistent{pop()});
      default:
        return false;
    }
  }

  bool frame(Op op) {
    switch (op) {
      case Op::proto: {
        const int protocol = cursor_.read<std::uint8_t>();
        if (protocol > kNewestProtocol)
          fail("pickle protocol {}, at most {} is known", protocol, kNewestProtocol);
        return true;
      }
      case Op::frame:  // a hint for readers of streams
        cursor_.read<std::uint64_t>();
        return true;
      case Op::mark:
        if (marks_.size() == kMaxMarks) fail("more than {} open marks", kMaxMarks);
        marks_.push_back(stack_.size());
        return true;
      case Op::pop:
        // Python pops a mark as well where one is on top.
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case Op::pop_mark:
        pop_to_mark();
        return true;
      case Op::dup:
        return push_known(top());
      default:
        return false;
    }
  }

  // --- What they are made of. ---

  std::string string(std::uint64_t length) { return std::string(cursor_.text(length)); }

  bool push_known(Value* value) {
    if (stack_.size() == kMaxStack) fail("more than {} values on the stack", kMaxStack);
    stack_.push_back(value);
    return true;
  }

  template <typename T>
  bool push(T content) {
    if (values_.size() == kMaxValues) fail("more than {} values", kMaxValues);
    values_.push_back({std::move(content)});
    return push_known(&values_.back());
  }

  bool push_long(std::uint64_t length) {
    const std::string_view digits = cursor_.text(length);
    if (digits.size() > sizeof(std::int64_t)) return push(BigInteger{std::string(digits)});
    const bool negative = !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80U) != 0;
    std::int64_t value = negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return push(value);
  }

  bool push_object(const Value* callable, const Value* arguments, const Value* keywords) {
    if (arguments->as<Tuple>() == nullptr)
      fail("a call without arguments before byte {}", cursor_.position());
    Object object;
    object.callable = callable;
    object.arguments = arguments;
    object.keywords = keywords;
    return push(std::move(object));
  }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Value* top() const {
    if (stack_.size() <= floor()) fail("a value is missing before byte {}", cursor_.position());
    return stack_.back();
  }

  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }

  Items pop_some(std::size_t count) {
    if (stack_.size() - floor() < count) fail("a value is missing before byte {}", cursor_.position());
    return pop_from(stack_.size() - count);
  }

  Items pop_to_mark() {
    if (marks_.empty()) fail("a mark is missing before byte {}", cursor_.position());
    const std::size_t mark = marks_.back();
    marks_.pop_back();
    return pop_from(mark);
  }

  Items pop_from(std::size_t begin) {
    Items items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    return items;
  }

  Entries paired(const Items& items) const {
    if (items.size() % 2 != 0) fail("a key without a value before byte {}", cursor_.position());
    Entries entries;
    entries.reserve(items.size() / 2);
    for (std::size_t i = 0; i < items.size(); i += 2) entries.emplace_back(items[i], items[i + 1]);
    return entries;
  }

  void add_items(const Items& items) {
    auto& content = top()->content;
    Items* target = nullptr;
    if (auto* list = std::get_if<List>(&content)) target = &list->items;
    if (auto* set = std::get_if<Set>(&content)) target = &set->items;
    if (auto* object = std::get_if<Object>(&content)) target = &object->items;
    if (target == nullptr) fail("elements without a list before byte {}", cursor_.position());
    target->insert(target->end(), items.begin(), items.end());
  }

  void add_entries(const Entries& entries) {
    auto& content = top()->content;
    Entries* target = nullptr;
    if (auto* dict = std::get_if<Dict>(&content)) target = &dict->entries;
    if (auto* object = std::get_if<Object>(&content)) target = &object->entries;
    if (target == nullptr) fail("entries without a dict before byte {}", cursor_.position());
    target->insert(target->end(), entries.begin(), entries.end());
  }

  bool put(std::size_t slot) {
    if (memo_.size() == kMaxMemo) fail("more than {} remembered values", kMaxMemo);
    memo_[slot] = top();
    return true;
  }

  bool get(std::size_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end())
      fail("value {} is used before byte {} and was never made", slot, cursor_.position());
    return push_known(found->second);
  }

  Cursor cursor_;
  std::deque<Value> values_;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::size_t, Value*> memo_;
};

}  // namespace

Tree parse(std::span<const std::byte> bytes) {
  // What is too long is cut: a legacy file's data follow its pickles.
  return Machine(bytes.first(std::min(bytes.size(), kMaxBytes))).run();
}

}  // namespace spatialmamba::pickle
