//! Whole journeys through the pages, in Chromium that Playwright drives: `tests/pages/journeys.py`.

use crate::support::{
    demonstration::Demonstration,
    has_program,
    python::{python_with, run_tool},
    topology::require_single_program,
};

const JOURNEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pages/journeys.py");

/// Makes a journey in the demonstration.
async fn make_journey(name: &str) {
    require_single_program();
    let Some(python) = python_with("axe_playwright_python, playwright").filter(|_| has_program("chromium")) else {
        return;
    };
    let demonstration = Demonstration::serve().await;
    let url = demonstration.program.client().base_url().to_owned();
    let made = run_tool(&python, &[JOURNEYS, &url, name], &[]).await;
    println!("{}", String::from_utf8_lossy(&made.stdout));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn a_head_of_offender_management_allocates_a_case_and_takes_it_back() {
    make_journey("head_of_offender_management").await;
}

#[tokio::test]
async fn each_page_and_each_form_is_accessible_on_a_phone_and_on_a_screen() {
    make_journey("every_form").await;
}

#[tokio::test]
async fn the_second_of_two_people_at_a_case_is_told_and_keeps_what_was_typed() {
    make_journey("two_people").await;
}

#[tokio::test]
async fn a_com_is_named_by_the_keyboard_alone() {
    make_journey("keyboard").await;
}

#[tokio::test]
async fn an_auditor_sees_the_log_grow() {
    make_journey("growing_log").await;
}

#[tokio::test]
async fn an_analyst_verifies_the_views_and_takes_an_export() {
    make_journey("analyst").await;
}

#[tokio::test]
async fn a_merged_number_leads_to_the_case_that_goes_on() {
    make_journey("merged_number").await;
}

#[tokio::test]
async fn a_case_is_shown_on_another_day_as_it_was_known_then() {
    make_journey("both_clocks").await;
}

#[tokio::test]
async fn a_spreadsheet_is_uploaded_looked_at_and_recorded() {
    make_journey("spreadsheet").await;
}

#[tokio::test]
async fn cases_of_a_pom_move_to_another_pom_and_one_is_taken_back() {
    make_journey("bulk_reallocation").await;
}

#[tokio::test]
async fn the_front_page_and_a_case_are_small_and_nothing_moves() {
    make_journey("slow_line").await;
}
