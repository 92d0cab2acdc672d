#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <string>
#include <utility>
#include <vector>

namespace millrace::pipeline {

/// The kinds of `role_options`, in their order.
inline std::vector<std::string> role_kinds() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return std::vector<std::string>{std::string(std::variant_alternative_t<I, role_options>::kind)...};
  }
  (std::make_index_sequence<std::variant_size_v<role_options>>{});
}

/// `[roles.NAME]`: the keys of every role, then those of its kind.
template <class Role, class Visitor>
void visit_role(Role& r, Visitor& v) {
  std::visit(
      [&](auto& table) {
        using table_type = std::decay_t<decltype(table)>;
        std::string kind(table_type::kind);
        v("kind", kind, one_of({kind}), "what the role does");
        if (table_type{}.reads(v.words()).empty())
          v.refuse("from", "this kind reads from no role");
        else
          v("from", r.from, needed(), "the roles that it reads from");
        if constexpr (table_type::heavy)
          v("threads", r.threads, between(0, 1024), "threads of each process; 0 = its share of the cores");
        if constexpr (requires { table.model; })
          v("device", r.device, any(),
            "where it computes: auto, cpu, cuda or cuda:N, the machine's GPU of that number; \"\" = run.device");
        table_type::visit(table, v);
      },
      r.options);
}

} // namespace millrace::pipeline
