// How a layer reads what the caller says about it. The bindings implement this for mappings of Python.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "formulas/kinds.h"
#include "graph/value.h"
#include "graph/variables.h"

namespace engine::graph {

/// A mapping from names to values. Every method throws std::invalid_argument where the entry is missing and has no
/// default, or has another type.
class Attributes {
 public:
  virtual ~Attributes() = default;

  virtual bool has(const char* key) const = 0;
  virtual bool flag(const char* key) const = 0;
  virtual int64_t integer(const char* key) const = 0;
  virtual uint64_t seed(const char* key) const = 0;
  virtual double number(const char* key) const = 0;
  virtual std::string text(const char* key) const = 0;
  virtual std::vector<int64_t> integers(const char* key) const = 0;
  virtual std::vector<float> numbers(const char* key) const = 0;
  virtual std::vector<std::string> texts(const char* key) const = 0;
  /// A shape: a list of pairs (fixed, per_sample), one for each axis. `shapes` are a list of them.
  virtual Shape shape(const char* key) const = 0;
  virtual std::vector<Shape> shapes(const char* key) const = 0;
  virtual std::unique_ptr<Attributes> nested(const char* key) const = 0;
  virtual std::vector<std::unique_ptr<Attributes>> list(const char* key) const = 0;
  /// Throws std::invalid_argument with `message`, the key and the whole mapping.
  [[noreturn]] virtual void refuse(const char* message, const char* key) const = 0;

  bool flag(const char* key, bool otherwise) const { return has(key) ? flag(key) : otherwise; }
  int64_t integer(const char* key, int64_t otherwise) const { return has(key) ? integer(key) : otherwise; }
  double number(const char* key, double otherwise) const { return has(key) ? number(key) : otherwise; }
  float single(const char* key) const { return static_cast<float>(number(key)); }
  float single(const char* key, float otherwise) const { return has(key) ? single(key) : otherwise; }
  /// A number that is not negative.
  double nonnegative(const char* key) const;
  double nonnegative(const char* key, double otherwise) const { return has(key) ? nonnegative(key) : otherwise; }
  /// An integer of at least 1.
  int64_t count(const char* key) const;
  /// The place of a text among `names`; the first of them where the key is missing.
  template <class Enum, size_t N>
  Enum choice(const char* key, const char* const (&names)[N]) const {
    return static_cast<Enum>(has(key) ? place_of(text(key), names, static_cast<int>(N), key) : 0);
  }
  /// Penalties and constraint of a variable, from keys such as `kernel_l2`. `name` is "kernel" for what multiplies
  /// (also gains and tables), and "bias" for what is added (also shifts).
  VariableSpec variable(const std::string& name) const;

  /// `text` as an index into `names`; throws std::invalid_argument with all of them.
  static int place_of(const std::string& text, const char* const* names, int count, const char* what);
};

}  // namespace engine::graph
