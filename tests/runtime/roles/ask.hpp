#pragma once

#include "runtime/roles/abilities.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tests {

/// An answer that will come, or the line of an error. That it comes once is checked where it is looked at.
template <class Answer>
class awaited {
public:
  roles::answer_to<Answer> done() const {
    return [all = all_](Answer answer, std::string error) {
      all->change([&](auto& list) { list.emplace_back(std::move(answer), std::move(error)); });
    };
  }

  std::pair<Answer, std::string> get() const {
    REQUIRE(all_->wait([](const auto& list) { return !list.empty(); }));
    const auto list = all_->get();
    CHECK(list.size() == 1);
    return list.front();
  }

private:
  std::shared_ptr<watched<std::vector<std::pair<Answer, std::string>>>> all_ =
      std::make_shared<watched<std::vector<std::pair<Answer, std::string>>>>();
};

/// Asks a role: `asked(role, &policy_role::fetch, fetch_group{...})`.
template <class Role, class Ask, class Answer>
awaited<Answer> asked(Role& role, void (Role::*method)(const Ask&, roles::answer_to<Answer>),
                      const std::type_identity_t<Ask>& what) {
  awaited<Answer> answer;
  (role.*method)(what, answer.done());
  return answer;
}

/// A generator is asked for answers that are no episodes.
template <class Role>
awaited<group_accepted> asked(Role& role,
                              void (Role::*method)(const generate_group&, std::shared_ptr<roles::environment>,
                                                   roles::answer_to<group_accepted>),
                              const generate_group& what) {
  awaited<group_accepted> answer;
  (role.*method)(what, nullptr, answer.done());
  return answer;
}

template <class Role>
std::pair<group_accepted, std::string>
ask(Role& role,
    void (Role::*method)(const generate_group&, std::shared_ptr<roles::environment>, roles::answer_to<group_accepted>),
    const generate_group& what) {
  return asked(role, method, what).get();
}

/// The same, with the answer.
template <class Role, class Ask, class Answer>
std::pair<Answer, std::string> ask(Role& role, void (Role::*method)(const Ask&, roles::answer_to<Answer>),
                                   const std::type_identity_t<Ask>& what) {
  return asked(role, method, what).get();
}

/// The columns that a role adds to a group, or the line of an error.
inline std::pair<roles::added_columns, std::string> add(roles::column_adder& role, columns::column_set columns) {
  awaited<roles::added_columns> answer;
  role.add({}, std::move(columns), answer.done());
  return answer.get();
}

/// A column of a bundle as a vector.
template <column_key Column>
std::vector<typename Column::element> values(const transport::bundle& columns, const Column& column) {
  const auto view = columns.view<typename Column::element>(column.name);
  return {view.begin(), view.end()};
}

} // namespace millrace::tests
