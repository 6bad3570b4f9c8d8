"""The references of the methods that metamiq uses: one table, by key, each with its short form."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """A publication: as it is cited in a sentence, and in full."""

    short: str
    full: str


#: Publications by key.
REFERENCES: dict[str, Reference] = {
    "bell2002": Reference(
        "Bell & McCaffrey 2002",
        "Bell, R. M. & McCaffrey, D. F. (2002). Bias reduction in standard errors for linear regression with "
        "multi-stage samples. Survey Methodology, 28, 169-181.",
    ),
    "birge1932": Reference(
        "Birge 1932",
        "Birge, R. T. (1932). The calculation of errors by the method of least squares. Physical Review, 40, 207-227.",
    ),
    "bonett2008": Reference(
        "Bonett 2008",
        "Bonett, D. G. (2008). Confidence intervals for standardized linear contrasts of means. Psychological "
        "Methods, 13, 99-109.",
    ),
    "bonett2009": Reference(
        "Bonett 2009",
        "Bonett, D. G. (2009). Meta-analytic interval estimation for standardized and unstandardized mean "
        "differences. Psychological Methods, 14, 225-238.",
    ),
    "borenstein2009": Reference(
        "Borenstein et al. 2009",
        "Borenstein, M., Hedges, L. V., Higgins, J. P. T. & Rothstein, H. R. (2009). Introduction to "
        "Meta-Analysis. Wiley.",
    ),
    "brannick2019": Reference(
        "Brannick et al. 2019",
        "Brannick, M. T., Potter, S. M., Benitez, B. & Morris, S. B. (2019). Bias and precision of alternate "
        "estimators in meta-analysis: Benefits of blending Schmidt-Hunter and Hedges approaches. Organizational "
        "Research Methods, 22, 490-514.",
    ),
    "bushman1996": Reference(
        "Bushman & Wang 1996",
        "Bushman, B. J. & Wang, M. C. (1996). A procedure for combining sample standardized mean differences and "
        "vote counts to estimate the population standardized mean difference in fixed effects models. "
        "Psychological Methods, 1, 66-80.",
    ),
    "cheung2014": Reference(
        "Cheung 2014",
        "Cheung, M. W.-L. (2014). Modeling dependent effect sizes with three-level meta-analyses: A structural "
        "equation modeling approach. Psychological Methods, 19, 211-229.",
    ),
    "cochran1954": Reference(
        "Cochran 1954",
        "Cochran, W. G. (1954). The combination of estimates from different experiments. Biometrics, 10, 101-129.",
    ),
    "dersimonian1986": Reference(
        "DerSimonian & Laird 1986",
        "DerSimonian, R. & Laird, N. (1986). Meta-analysis in clinical trials. Controlled Clinical Trials, 7, 177-188.",
    ),
    "dersimonian2007": Reference(
        "DerSimonian & Kacker 2007",
        "DerSimonian, R. & Kacker, R. (2007). Random-effects model for meta-analysis of clinical trials: An "
        "update. Contemporary Clinical Trials, 28, 105-114.",
    ),
    "doi2015": Reference(
        "Doi et al. 2015",
        "Doi, S. A. R., Barendregt, J. J., Khan, S., Thalib, L. & Williams, G. M. (2015). Advances in the "
        "meta-analysis of heterogeneous clinical trials I: The inverse variance heterogeneity model. Contemporary "
        "Clinical Trials, 45, 130-138.",
    ),
    "fisher1921": Reference(
        "Fisher 1921",
        'Fisher, R. A. (1921). On the "probable error" of a coefficient of correlation deduced from a small '
        "sample. Metron, 1, 3-32.",
    ),
    "freeman1950": Reference(
        "Freeman & Tukey 1950",
        "Freeman, M. F. & Tukey, J. W. (1950). Transformations related to the angular and the square root. Annals "
        "of Mathematical Statistics, 21, 607-611.",
    ),
    "glass1976": Reference(
        "Glass 1976",
        "Glass, G. V. (1976). Primary, secondary, and meta-analysis of research. Educational Researcher, 5(10), 3-8.",
    ),
    "greenland1985": Reference(
        "Greenland & Robins 1985",
        "Greenland, S. & Robins, J. M. (1985). Estimation of a common effect parameter from sparse follow-up "
        "data. Biometrics, 41, 55-68.",
    ),
    "hardy1996": Reference(
        "Hardy & Thompson 1996",
        "Hardy, R. J. & Thompson, S. G. (1996). A likelihood approach to meta-analysis with random effects. "
        "Statistics in Medicine, 15, 619-629.",
    ),
    "hartung2001": Reference(
        "Hartung & Knapp 2001",
        "Hartung, J. & Knapp, G. (2001). On tests of the overall treatment effect in meta-analysis with normally "
        "distributed responses. Statistics in Medicine, 20, 1771-1782.",
    ),
    "hedges1980": Reference(
        "Hedges & Olkin 1980",
        "Hedges, L. V. & Olkin, I. (1980). Vote-counting methods in research synthesis. Psychological Bulletin, "
        "88, 359-369.",
    ),
    "hedges1981": Reference(
        "Hedges 1981",
        "Hedges, L. V. (1981). Distribution theory for Glass's estimator of effect size and related estimators. "
        "Journal of Educational Statistics, 6, 107-128.",
    ),
    "hedges1982": Reference(
        "Hedges 1982",
        "Hedges, L. V. (1982). Estimation of effect size from a series of independent experiments. Psychological "
        "Bulletin, 92, 490-499.",
    ),
    "hedges1983": Reference(
        "Hedges 1983",
        "Hedges, L. V. (1983). A random effects model for effect sizes. Psychological Bulletin, 93, 388-395.",
    ),
    "hedges1985": Reference(
        "Hedges & Olkin 1985",
        "Hedges, L. V. & Olkin, I. (1985). Statistical Methods for Meta-Analysis. Academic Press.",
    ),
    "hedges1999": Reference(
        "Hedges et al. 1999",
        "Hedges, L. V., Gurevitch, J. & Curtis, P. S. (1999). The meta-analysis of response ratios in "
        "experimental ecology. Ecology, 80, 1150-1156.",
    ),
    "hedges2010": Reference(
        "Hedges et al. 2010",
        "Hedges, L. V., Tipton, E. & Johnson, M. C. (2010). Robust variance estimation in meta-regression with "
        "dependent effect size estimates. Research Synthesis Methods, 1, 39-65.",
    ),
    "higgins2002": Reference(
        "Higgins & Thompson 2002",
        "Higgins, J. P. T. & Thompson, S. G. (2002). Quantifying heterogeneity in a meta-analysis. Statistics in "
        "Medicine, 21, 1539-1558.",
    ),
    "higgins2009": Reference(
        "Higgins et al. 2009",
        "Higgins, J. P. T., Thompson, S. G. & Spiegelhalter, D. J. (2009). A re-evaluation of random-effects "
        "meta-analysis. Journal of the Royal Statistical Society, Series A, 172, 137-159.",
    ),
    "hunter2004": Reference(
        "Hunter & Schmidt 2004",
        "Hunter, J. E. & Schmidt, F. L. (2004). Methods of Meta-Analysis: Correcting Error and Bias in Research "
        "Findings (2nd ed.). Sage.",
    ),
    "knapp2003": Reference(
        "Knapp & Hartung 2003",
        "Knapp, G. & Hartung, J. (2003). Improved tests for a random effects meta-regression with a single "
        "covariate. Statistics in Medicine, 22, 2693-2710.",
    ),
    "konstantopoulos2011": Reference(
        "Konstantopoulos 2011",
        "Konstantopoulos, S. (2011). Fixed effects and variance components estimation in three-level "
        "meta-analysis. Research Synthesis Methods, 2, 61-76.",
    ),
    "lajeunesse2015": Reference(
        "Lajeunesse 2015",
        "Lajeunesse, M. J. (2015). Bias and correction for the log response ratio in ecological meta-analysis. "
        "Ecology, 96, 2056-2063.",
    ),
    "mantel1959": Reference(
        "Mantel & Haenszel 1959",
        "Mantel, N. & Haenszel, W. (1959). Statistical aspects of the analysis of data from retrospective studies "
        "of disease. Journal of the National Cancer Institute, 22, 719-748.",
    ),
    "morris1983": Reference(
        "Morris 1983",
        "Morris, C. N. (1983). Parametric empirical Bayes inference: Theory and applications. Journal of the "
        "American Statistical Association, 78, 47-55.",
    ),
    "morris2008": Reference(
        "Morris 2008",
        "Morris, S. B. (2008). Estimating effect sizes from pretest-posttest-control group designs. "
        "Organizational Research Methods, 11, 364-386.",
    ),
    "nagashima2019": Reference(
        "Nagashima et al. 2019",
        "Nagashima, K., Noma, H. & Furukawa, T. A. (2019). Prediction intervals for random-effects meta-analysis: "
        "A confidence distribution approach. Statistical Methods in Medical Research, 28, 1689-1702.",
    ),
    "nakagawa2015": Reference(
        "Nakagawa et al. 2015",
        "Nakagawa, S., Poulin, R., Mengersen, K., Reinhold, K., Engqvist, L., Lagisz, M. & Senior, A. M. (2015). "
        "Meta-analysis of variation. Methods in Ecology and Evolution, 6, 143-152.",
    ),
    "olkin1958": Reference(
        "Olkin & Pratt 1958",
        "Olkin, I. & Pratt, J. W. (1958). Unbiased estimation of certain correlation coefficients. Annals of "
        "Mathematical Statistics, 29, 201-211.",
    ),
    "paule1982": Reference(
        "Paule & Mandel 1982",
        "Paule, R. C. & Mandel, J. (1982). Consensus values and weighting factors. Journal of Research of the "
        "National Bureau of Standards, 87, 377-385.",
    ),
    "pustejovsky2018": Reference(
        "Pustejovsky & Tipton 2018",
        "Pustejovsky, J. E. & Tipton, E. (2018). Small-sample methods for cluster-robust variance estimation and "
        "hypothesis testing in fixed effects models. Journal of Business & Economic Statistics, 36, 672-683.",
    ),
    "pustejovsky2022": Reference(
        "Pustejovsky & Tipton 2022",
        "Pustejovsky, J. E. & Tipton, E. (2022). Meta-analysis with robust variance estimation: Expanding the "
        "range of working models. Prevention Science, 23, 425-438.",
    ),
    "raudenbush2009": Reference(
        "Raudenbush 2009",
        "Raudenbush, S. W. (2009). Analyzing effect sizes: Random-effects models. In H. Cooper, L. V. Hedges & J. "
        "C. Valentine (Eds.), The Handbook of Research Synthesis and Meta-Analysis (2nd ed.). Russell Sage "
        "Foundation.",
    ),
    "robins1986": Reference(
        "Robins et al. 1986",
        "Robins, J., Breslow, N. & Greenland, S. (1986). Estimators of the Mantel-Haenszel variance consistent in "
        "both sparse data and large-strata limiting models. Biometrics, 42, 311-323.",
    ),
    "roever2020": Reference(
        "Röver 2020",
        "Röver, C. (2020). Bayesian random-effects meta-analysis using the bayesmeta R package. Journal of "
        "Statistical Software, 93(6).",
    ),
    "rubio2020": Reference(
        "Rubio-Aparicio et al. 2020",
        "Rubio-Aparicio, M., López-López, J. A., Viechtbauer, W., Marín-Martínez, F., Botella, J. & Sánchez-Meca, "
        "J. (2020). Testing categorical moderators in mixed-effects meta-analysis in the presence of "
        "heteroscedasticity. Journal of Experimental Education, 88, 288-310.",
    ),
    "ruecker2009": Reference(
        "Rücker et al. 2009",
        "Rücker, G., Schwarzer, G., Carpenter, J. & Olkin, I. (2009). Why add anything to nothing? The arcsine "
        "difference as a measure of treatment effect in meta-analysis with zero cells. Statistics in Medicine, "
        "28, 721-738.",
    ),
    "sato1989": Reference(
        "Sato et al. 1989",
        "Sato, T., Greenland, S. & Robins, J. M. (1989). On the variance estimator for the Mantel-Haenszel risk "
        "difference. Biometrics, 45, 1323-1324.",
    ),
    "sidik2002": Reference(
        "Sidik & Jonkman 2002",
        "Sidik, K. & Jonkman, J. N. (2002). A simple confidence interval for meta-analysis. Statistics in "
        "Medicine, 21, 3153-3159.",
    ),
    "sidik2005": Reference(
        "Sidik & Jonkman 2005",
        "Sidik, K. & Jonkman, J. N. (2005). Simple heterogeneity variance estimation for meta-analysis. Journal "
        "of the Royal Statistical Society, Series C, 54, 367-384.",
    ),
    "stanley2015": Reference(
        "Stanley & Doucouliagos 2015",
        "Stanley, T. D. & Doucouliagos, H. (2015). Neither fixed nor random: Weighted least squares "
        "meta-analysis. Statistics in Medicine, 34, 2116-2127.",
    ),
    "stijnen2010": Reference(
        "Stijnen et al. 2010",
        "Stijnen, T., Hamza, T. H. & Ozdemir, P. (2010). Random effects meta-analysis of event outcome in the "
        "framework of the generalized linear mixed model with applications in sparse data. Statistics in "
        "Medicine, 29, 3046-3067.",
    ),
    "tarone1985": Reference(
        "Tarone 1985",
        "Tarone, R. E. (1985). On heterogeneity tests based on efficient scores. Biometrika, 72, 91-95.",
    ),
    "turner2000": Reference(
        "Turner et al. 2000",
        "Turner, R. M., Omar, R. Z., Yang, M., Goldstein, H. & Thompson, S. G. (2000). A multilevel model "
        "framework for meta-analysis of clinical trials with binary outcomes. Statistics in Medicine, 19, "
        "3417-3432.",
    ),
    "viechtbauer2005": Reference(
        "Viechtbauer 2005",
        "Viechtbauer, W. (2005). Bias and efficiency of meta-analytic variance estimators in the random-effects "
        "model. Journal of Educational and Behavioral Statistics, 30, 261-293.",
    ),
    "viechtbauer2007": Reference(
        "Viechtbauer 2007",
        "Viechtbauer, W. (2007). Confidence intervals for the amount of heterogeneity in meta-analysis. "
        "Statistics in Medicine, 26, 37-52.",
    ),
    "viechtbauer2021": Reference(
        "Viechtbauer 2021",
        "Viechtbauer, W. (2021). Median-unbiased estimators for the amount of heterogeneity in meta-analysis. "
        "European Congress of Methodology, Valencia.",
    ),
    "viechtbauer2022": Reference(
        "Viechtbauer & López-López 2022",
        "Viechtbauer, W. & López-López, J. A. (2022). Location-scale models for meta-analysis. Research Synthesis "
        "Methods, 13, 697-715.",
    ),
    "woolf1955": Reference(
        "Woolf 1955",
        "Woolf, B. (1955). On estimating the relation between blood group and disease. Annals of Human Genetics, "
        "19, 251-253.",
    ),
    "yusuf1985": Reference(
        "Yusuf et al. 1985",
        "Yusuf, S., Peto, R., Lewis, J., Collins, R. & Sleight, P. (1985). Beta blockade during and after "
        "myocardial infarction: An overview of the randomized trials. Progress in Cardiovascular Diseases, 27, "
        "335-371.",
    ),
    # Certainty of evidence
    "cochrane2011": Reference(
        "Higgins & Green 2011, section 11.5.5",
        "Higgins, J. P. T. & Green, S. (Eds.) (2011). Cochrane Handbook for Systematic Reviews of Interventions, "
        "version 5.1.0. The Cochrane Collaboration.",
    ),
    "grade2011a": Reference(
        "Guyatt et al. 2011a",
        "Guyatt, G., Oxman, A. D., Akl, E. A., et al. (2011a). GRADE guidelines: 1. Introduction - GRADE evidence "
        "profiles and summary of findings tables. Journal of Clinical Epidemiology, 64, 383-394.",
    ),
    "grade2011b": Reference(
        "Guyatt et al. 2011b",
        "Guyatt, G. H., Oxman, A. D., Sultan, S., et al. (2011b). GRADE guidelines: 9. Rating up the quality of "
        "evidence. Journal of Clinical Epidemiology, 64, 1311-1316.",
    ),
    "grade2013": Reference(
        "GRADE Handbook 2013",
        "Schünemann, H., Brožek, J., Guyatt, G. & Oxman, A. (Eds.) (2013). GRADE Handbook for Grading Quality of "
        "Evidence and Strength of Recommendations, updated October 2013. The GRADE Working Group.",
    ),
    "grade2019": Reference(
        "Schünemann et al. 2019",
        "Schünemann, H. J., Cuello, C., Akl, E. A., et al. (2019). GRADE guidelines: 18. How ROBINS-I and other "
        "tools to assess risk of bias in nonrandomized studies should be used to rate the certainty of a body of "
        "evidence. Journal of Clinical Epidemiology, 111, 105-114.",
    ),
}
