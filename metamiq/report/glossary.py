"""The words that a report uses."""

from __future__ import annotations

GENERAL = {
    "effect size": "A number that says how large a difference is, in units that can be compared between trials.",
    "Hedges g": "Difference of two means in units of their standard deviation, corrected for small samples.",
    "standard error (SE), sampling variance": "How far an estimate would scatter if the same trial were repeated; the "
    "variance is the square of the standard error.",
    "confidence interval": "The values of the mean that the data do not contradict at the stated level.",
    "heterogeneity": "That the true effects of trials differ by more than chance would make their estimates differ.",
    "tau2, tau": "The variance and the standard deviation of the true effects of trials.",
    "I2": "The share, in percent, of the variation between trials that is heterogeneity and not chance.",
    "prediction interval": "Where the true effect of a new trial would lie.",
    "REML": "Restricted maximum likelihood: the usual estimator of tau2.",
    "Knapp-Hartung": "An interval for the mean that also takes into account that tau2 is only estimated.",
    "weight": "How much a trial counts in the mean.",
}
FIRST_QUESTION = {
    "MI": "Motivational interviewing: a way of talking with people that helps them find their own reasons to change.",
    "CBT": "Cognitive behaviour therapy: a treatment that works on what people think and do.",
    "ambivalence": "Wanting to change and not wanting to, at once; MI is made to work with it.",
    "self-efficacy": "Somebody's belief that they can do what is needed.",
    "GAD, OCD, PTSD, SAD": "Generalised anxiety, obsessive-compulsive, post-traumatic stress, social anxiety disorder.",
    "dropout": "Leaving treatment before its planned end.",
    "moderator": "Something on which the effect of trials may depend, such as the disorder or the number of sessions.",
    "point": "A trial whose report gives an effect size, or the numbers for one.",
    "bound": "A trial whose report gives only a verdict. 'Significant' puts g beyond the threshold of the test, "
    "'not significant' within it; the arm sizes set the threshold.",
    "profile-likelihood interval": "All values of the mean that the data do not contradict, judged by how much less "
    "likely they make the data.",
    "likelihood-ratio test": "A test of how much less likely the data become when a model is made simpler.",
    "odds ratio": "Odds of an event in one arm divided by the odds in the other; 1 means no difference.",
}


def first_question() -> dict[str, str]:
    """Words of the report on MI added to CBT."""
    words = FIRST_QUESTION | GENERAL
    words["Hedges g"] += " Positive here means that MI + CBT did better."
    return words
