"""A reward for GSM8K in verl's form: what verl's `custom_reward_function` calls, Millrace calls as it is."""
import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """1 for the right number behind the last ####, 0.1 for another number there, 0 without one."""
    stated = re.findall(r"#### *\$?(-?[0-9][0-9,]*)", solution_str)
    if stated:
        return {"score": 1.0 if stated[-1].replace(",", "") == ground_truth else 0.1, "stated": 1}
    return {"score": 0.0, "stated": 0}
